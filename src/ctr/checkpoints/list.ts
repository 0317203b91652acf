import { Command } from "commander";
import { required, wholePath } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { addOutputFlags, outputFlags, printJsonLines, printNames } from "../output/output-flags.js";
import { print } from "../output/print.js";
import { LIST_LAYOUT, tabwriter } from "../output/tabwriter.js";

export function checkpointsListCommand(): Command {
  const command = new Command("list")
    .alias("ls")
    .description("list a container's checkpoints")
    .usage("[flags] ID")
    .argument("[id]", "the container")
    .option("--checkpoint-dir <directory>", "where they are (default: the bundle's folder checkpoints)");
  addOutputFlags(command, "names");
  command.action((id: string | undefined, { checkpointDir }: { checkpointDir?: string }) =>
    listCheckpoints(command, id, checkpointDir),
  );
  return addExamples(command, "ctr checkpoints list web");
}

/** Also what `ctr checkpoints ID` does. */
export async function listCheckpoints(command: Command, id: string | undefined, checkpointDir?: string): Promise<void> {
  const container = required(id, "container id", command);
  const { json, quiet } = outputFlags(command);
  const client = await openClient(command);
  const { checkpoints } = await client.v0.api.listCheckpoint({
    id: container,
    checkpointDir: wholePath(checkpointDir),
  });
  if (quiet) return await printNames(checkpoints.map((checkpoint) => checkpoint.name));
  if (json) return await printJsonLines(checkpoints);
  const rows = checkpoints.map(({ name, tcp, unixSockets, shell }) => [name, `${tcp}`, `${unixSockets}`, `${shell}`]);
  await print(tabwriter([["NAME", "TCP", "UNIX SOCKETS", "SHELL"], ...rows], LIST_LAYOUT));
}
