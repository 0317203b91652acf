import { Command } from "commander";
import { addExamples } from "../command-line/example.js";
import { addOutputFlags } from "../output/output-flags.js";
import { checkpointsCreateCommand } from "./create.js";
import { checkpointsDeleteCommand } from "./delete.js";
import { checkpointsListCommand, listCheckpoints } from "./list.js";

export function checkpointsCommand(): Command {
  const command = new Command("checkpoints")
    .description("work with checkpoints; without a command: list a container's")
    .argument("[id]", "the container");
  addOutputFlags(command, "names");
  for (const subcommand of [checkpointsCreateCommand(), checkpointsDeleteCommand(), checkpointsListCommand()])
    command.addCommand(subcommand);
  command.action(async (id: string | undefined) => {
    await listCheckpoints(command, id);
  });
  command.allowExcessArguments(true);
  return addExamples(command, "ctr checkpoints web", "ctr checkpoints create web before-upgrade");
}
