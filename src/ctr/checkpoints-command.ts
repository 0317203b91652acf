import { Command } from "commander";
import { checkpointsCreateCommand } from "./checkpoints-create.js";
import { checkpointsDeleteCommand } from "./checkpoints-delete.js";
import { checkpointsListCommand, listCheckpoints } from "./checkpoints-list.js";
import { addExamples } from "./example.js";

export function checkpointsCommand(): Command {
  const command = new Command("checkpoints")
    .description("work with checkpoints; without a command: list a container's")
    .argument("[id]", "the container");
  for (const subcommand of [checkpointsCreateCommand(), checkpointsDeleteCommand(), checkpointsListCommand()])
    command.addCommand(subcommand);
  command.action(async (id: string | undefined) => {
    if (command.args.length > 1) throw new Error(`unknown command "${id}" for "ctr checkpoints"`);
    await listCheckpoints(command, id);
  });
  command.allowExcessArguments(true);
  return addExamples(command, "ctr checkpoints web", "ctr checkpoints create web before-upgrade");
}
