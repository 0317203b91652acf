import { Command } from "commander";
import { required, wholePath } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";

interface CreateFlags {
  exit?: boolean;
  tcp?: boolean;
  unixSockets?: boolean;
  shell?: boolean;
  checkpointDir?: string;
  emptyNs?: string[];
}

export function checkpointsCreateCommand(): Command {
  const command = new Command("create")
    .description("save the state of a running container")
    .usage("[flags] ID NAME")
    .argument("[id]", "the container")
    .argument("[name]", "a name for the checkpoint")
    .option("--exit", "end the container once it is saved")
    .option("--tcp", "allow open TCP connections")
    .option("--unix-sockets", "allow unix sockets that are connected to the outside")
    .option("--shell", "allow a session that has its terminal from outside")
    .option("--checkpoint-dir <directory>", "where to save it (default: the bundle's folder checkpoints)")
    .option("--empty-ns <namespace...>", "make this namespace, but do not save what is in it; repeatable");
  command.action(async (id: string | undefined, name: string | undefined, flags: CreateFlags) => {
    const container = required(id, "container id", command);
    const checkpoint = {
      name: required(name, "checkpoint name", command),
      exit: flags.exit ?? false,
      tcp: flags.tcp ?? false,
      unixSockets: flags.unixSockets ?? false,
      shell: flags.shell ?? false,
      emptyNS: flags.emptyNs ?? [],
    };
    const client = await openClient(command);
    await client.v0.api.createCheckpoint({ id: container, checkpoint, checkpointDir: wholePath(flags.checkpointDir) });
  });
  return addExamples(command, "ctr checkpoints create --exit web before-upgrade");
}
