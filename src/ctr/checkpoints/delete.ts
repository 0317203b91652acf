import { Command } from "commander";
import { required, wholePath } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";

export function checkpointsDeleteCommand(): Command {
  const command = new Command("delete")
    .description("delete a checkpoint")
    .usage("[flags] ID NAME")
    .argument("[id]", "the container")
    .argument("[name]", "the checkpoint")
    .option("--checkpoint-dir <directory>", "where it is (default: the bundle's folder checkpoints)");
  command.action(
    async (id: string | undefined, name: string | undefined, { checkpointDir }: { checkpointDir?: string }) => {
      const request = {
        id: required(id, "container id", command),
        name: required(name, "checkpoint name", command),
        checkpointDir: wholePath(checkpointDir),
      };
      const client = await openClient(command);
      await client.v0.api.deleteCheckpoint(request);
    },
  );
  return addExamples(command, "ctr checkpoints delete web before-upgrade");
}
