import { Command } from "commander";
import { required } from "./command-line/arguments.js";
import { addExamples } from "./command-line/example.js";
import { openClient } from "./command-line/global-flags.js";
import { portText } from "./engine/commands.js";
import { print } from "./output/print.js";

export function replaceCommand(): Command {
  const command = new Command("replace")
    .description(
      "hand the published ports of a container to another one, which runs, without a connection that finds nobody",
    )
    .usage("OLD NEW")
    .argument("[old]", "its id, the beginning of that, or its name")
    .argument("[new]", "the one that publishes them from then on");
  command.action(async (old: string | undefined, next: string | undefined) => {
    const [from, to] = [required(old, "old container", command), required(next, "new container", command)];
    const client = await openClient(command);
    for (const port of await client.publish.move(from, to)) await print(`${portText(port, " -> ")}\n`);
  });
  return addExamples(command, "ctr replace web-1 web-2");
}
