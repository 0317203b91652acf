import { Command } from "commander";
import { allowClusters } from "../../contract/go/argv.js";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { endingWell } from "../ending.js";
import { variablesOf } from "../run/container-of-flags.js";
import { failedRun } from "../run/failed-run.js";

interface ExecFlags {
  interactive?: boolean;
  tty?: boolean;
  env?: string[];
  envFile?: string[];
  user?: string;
  workdir?: string;
  privileged?: boolean;
}

/** One more process in a container of an image; `ctr containers exec` is for those of bundles. */
export function execCommand(): Command {
  const command = new Command("exec")
    .description("run one more command in a container of an image, to its end")
    .usage("[flags] CONTAINER COMMAND [ARGUMENT...]")
    .argument("[container]", "its id, the beginning of that, or its name")
    .argument("[command...]", "what to run; flags behind it are its own")
    .option("-i, --interactive", "give it ctr's stdin (default: an empty one, unless with --tty)")
    .option("-t, --tty", "give it a terminal")
    .option("-e, --env <variable...>", "an environment variable NAME=value, or NAME of ctr's own; repeatable")
    .option("--env-file <file...>", "a file of such lines; repeatable")
    .option("-u, --user <name>", "user, or user:group, by name or number (default: the container's)")
    .option("-w, --workdir <directory>", "its working directory (default: the container's)")
    .option("--privileged", "every capability")
    .passThroughOptions();
  allowClusters(command);
  command.action(async (name: string | undefined, args: string[], flags: ExecFlags) => {
    try {
      const wanted = required(name, "container", command);
      required(args[0], "command", command);
      const { interactive = false, tty = false, user, workdir, privileged } = flags;
      const input = interactive || tty;
      const env = variablesOf(flags);
      const client = await openClient(command);
      const container = await client.containers.get(wanted);
      const { attach } = await import("../containers/attach.js");
      process.exitCode = await endingWell(async (signal) => {
        const child = await container.spawn(args, { env, user, workdir, privileged, tty, input, signal });
        return await attach(child, tty, signal, input);
      });
    } catch (error) {
      throw failedRun(error, undefined);
    }
  });
  return addExamples(command, "ctr exec -it web sh", "ctr exec -e LANG=C web ls -l /");
}
