import { Argument, Command } from "commander";
import { print } from "../output/print.js";
import { bashCompletion, fishCompletion, SHELLS, zshCompletion } from "./completion.js";
import { addExamples } from "./example.js";

export function completionCommand(): Command {
  const command = new Command("completion")
    .description("print a shell's completion of ctr's command lines")
    .addArgument(new Argument("<shell>", "for which shell").choices(SHELLS));
  command.action(async (shell: (typeof SHELLS)[number]) => {
    const script = { bash: bashCompletion, fish: fishCompletion, zsh: zshCompletion }[shell];
    await print(script(command.parent!));
  });
  return addExamples(command, "ctr completion bash > /etc/bash_completion.d/ctr", "source <(ctr completion zsh)");
}
