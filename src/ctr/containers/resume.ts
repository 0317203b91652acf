import { Command } from "commander";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";

export function containersResumeCommand(): Command {
  const command = new Command("resume")
    .description("let a paused container go on")
    .usage("ID")
    .argument("[id]", "the container");
  command.action(async (id: string | undefined) => {
    const container = required(id, "container id", command);
    const client = await openClient(command);
    await client.v0.api.updateContainer({ id: container, pid: "init", status: "running" });
  });
  return addExamples(command, "ctr containers resume web");
}
