import { Argument, Command } from "commander";
import { bashCompletion, zshCompletion } from "./completion.js";
import { addExamples } from "./example.js";
import { print } from "./print.js";

export function completionCommand(): Command {
  const command = new Command("completion")
    .description("print a shell's completion of ctr's command lines")
    .addArgument(new Argument("<shell>", "for which shell").choices(["bash", "zsh"]));
  command.action(async (shell: string) => {
    const program = command.parent!;
    await print(shell === "bash" ? bashCompletion(program) : zshCompletion(program));
  });
  return addExamples(command, "ctr completion bash > /etc/bash_completion.d/ctr", "source <(ctr completion zsh)");
}
