import { Command, InvalidArgumentError } from "commander";
import { printable } from "../../contract/terminal/printable.js";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { endingWell } from "../ending.js";

interface ExecFlags {
  id?: string;
  pid?: string;
  attach?: boolean;
  tty?: boolean;
  cwd: string;
  env?: string[];
  uid: number;
  gid: number;
}

/** Where a command is looked up when --env says nothing else. */
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export function containersExecCommand(): Command {
  const command = new Command("exec")
    .description("run one more process in a container")
    .usage("--id ID --pid NAME [flags] COMMAND [ARGUMENT...]")
    .argument("[command...]", "what to run; flags behind it are its own")
    .option("--id <id>", "the container")
    .option("--pid <name>", "a name for the process that no other of the container has")
    .option("-a, --attach", "connect stdin, stdout and stderr, and end with the process's exit status")
    .option("-t, --tty", "give the process a terminal")
    .option("--cwd <directory>", "its working directory", "/")
    .option("-e, --env <variable...>", "an environment variable KEY=value; repeatable")
    .option("-u, --uid <number>", "user id to run as", userId, 0)
    .option("-g, --gid <number>", "group id to run as", userId, 0)
    .passThroughOptions();
  command.action(async (args: string[], flags: ExecFlags) => {
    const id = required(flags.id, "container id", "--id ID");
    const name = required(flags.pid, "process id", "--pid NAME");
    required(args[0], "command", command);
    const terminal = flags.tty ?? false;
    const options = {
      name,
      // As the original: nothing is taken over from the container's first process.
      inherit: false,
      terminal,
      cwd: flags.cwd,
      env: environment(flags.env ?? [], terminal),
      user: { uid: flags.uid, gid: flags.gid },
    };
    const client = await openClient(command);
    const task = client.v0.containers.reference(id);
    if (!flags.attach) {
      await endingWell((signal) => task.exec(args, { ...options, stdio: "detached", signal }));
      process.stderr.write(
        `[ctr] process ${printable(name)} has been started; nothing of it is shown without --attach\n`,
      );
      return;
    }
    const { attach } = await import("./attach.js");
    process.exitCode = await endingWell(async (signal) => {
      const child = await task.exec(args, { ...options, signal });
      return attach(child, terminal, signal);
    });
  });
  return addExamples(
    command,
    "ctr containers exec --id web --pid ls --attach ls -l /",
    "ctr containers exec --id web --pid shell --attach --tty sh",
  );
}

function userId(text: string): number {
  if (!/^\d+$/.test(text) || Number(text) > 0xffffffff) throw new InvalidArgumentError("Not a user or group id.");
  return Number(text);
}

/** What the user gave, and what hardly any program does without. */
function environment(given: string[], terminal: boolean): string[] {
  const has = (name: string) => given.some((variable) => variable.startsWith(`${name}=`));
  const defaults: string[] = [];
  if (!has("PATH")) defaults.push(`PATH=${DEFAULT_PATH}`);
  if (terminal && !has("TERM")) defaults.push(`TERM=${process.env.TERM ?? "xterm"}`);
  return [...defaults, ...given];
}
