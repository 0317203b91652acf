import { type Command as AnyCommand, Command, Option } from "commander";
import { allowClusters } from "../../contract/go/argv.js";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { endingWell } from "../ending.js";
import { print } from "../output/print.js";
import type { RunFlags } from "./container-of-flags.js";
import { failedRun } from "./failed-run.js";

const GROUPS: readonly ((command: AnyCommand) => AnyCommand)[] = [
  (command) =>
    command
      .option("-d, --detach", "leave it running, and print its id; it is kept when it has ended, unless with --rm")
      .option("--name <name>", "by which it is found, which no other one has (default: none)")
      .option("-t, --tty", "give it a terminal")
      .option("-i, --interactive", "read stdin, which it does anyway unless with --detach")
      .option("--rm", "keep nothing of it when it has ended, which is so anyway without --detach")
      .option("-l, --label <label...>", "a label NAME=value; repeatable")
      .addOption(
        new Option("--pull <when>", "when the image is fetched: missing, always, never")
          .choices(["missing", "always", "never"])
          .default("missing"),
      ),
  (command) =>
    command
      .option("-e, --env <variable...>", "an environment variable NAME=value, or NAME of ctr's own; repeatable")
      .option("--env-file <file...>", "a file of such lines; repeatable")
      .option("-u, --user <name>", "user, or user:group, by name or number (default: what the image says)")
      .option("--group-add <group...>", "one more group; repeatable")
      .option("-w, --workdir <directory>", "its working directory (default: what the image says)")
      .option("--entrypoint <program>", "in place of the program that the image starts with")
      .option("--init", "a small init is its first process, which reaps orphans and hands signals on")
      .option("--stop-signal <signal>", "what it is told to end with (default: what the image says, or SIGTERM)")
      .option("--stop-timeout <seconds>", "how long it may take to end then, before it is killed (default: 10)"),
  (command) =>
    command
      .option(
        "-v, --volume <volume...>",
        "/DIRECTORY:/DESTINATION[:ro] of this machine, NAME:/DESTINATION of ctr volumes, or /DESTINATION; repeatable",
      )
      .option("--mount <source:destination...>", "the same, of a path that may be relative; repeatable")
      .option("--tmpfs <destination...>", "/DESTINATION[:size=64m,mode=1777,…]: files in memory; repeatable")
      .option("--read-only", "nothing of the image's files can be changed"),
  (command) =>
    command
      .option(
        "--network <name...>",
        'none, host, container:NAME, or the name of a network: "bridge" or one of ctr networks; repeatable (default: none, bridge with -p)',
      )
      .option("-p, --publish <port...>", "[ADDRESS:][PORT:]PORT[/udp], of the host and of the container; repeatable")
      .option("-P, --publish-all", "publish all ports that the image exposes, on ports that are chosen")
      .option("--network-alias <name...>", "by which others on its network find it; repeatable")
      .option("--ip <address>", "its address on its network (default: a free one)")
      .option("--ip6 <address>", "its IPv6 address (default: a free one)")
      .option("--mac-address <address>", "on its network (default: made of its address)")
      .option("--hostname <name>", "its own name (default: the first digits of its id)")
      .option("--add-host <name:address...>", "a line of /etc/hosts; repeatable")
      .option("--dns <address...>", "a name server in place of the host's; repeatable")
      .option("--dns-search <domain...>", "a domain of names without a dot; repeatable")
      .option("--dns-option <option...>", "of resolv.conf; repeatable"),
  (command) =>
    command
      .option("-m, --memory <size>", "limit of memory: 64m, 1g (default: none)")
      .option("--memory-swap <size>", "limit of memory and swap together; -1 is none")
      .option("--cpus <number>", "processors: 0.5 is half of one (default: all)")
      .option("--pids-limit <number>", "limit of processes and threads (default: none)")
      .option("--shm-size <size>", "of /dev/shm (default: 64m)")
      .option("--ulimit <limit...>", "NAME=SOFT[:HARD]; repeatable"),
  (command) =>
    command
      .option("--privileged", "every capability and device")
      .option("--cap-add <capability...>", "one more than usual; repeatable")
      .option("--cap-drop <capability...>", "one less than usual, or ALL; repeatable")
      .option("--runtime <name>", "name or path of the OCI runtime (default: the daemon's)"),
  (command) =>
    command
      .option("--restart <policy>", "what starts it again: no, on-failure[:N], always, unless-stopped (with --detach)")
      .option("--health-cmd <command>", "a command for its shell, which says by its status 0 that it works")
      .option("--health-interval <duration>", "between two checks (default: 30s)")
      .option("--health-timeout <duration>", "how long one may take (default: 30s)")
      .option("--health-start-period <duration>", "in which one that fails does not count (default: 0s)")
      .option("--health-retries <number>", "how many have to fail one after the other (default: 3)")
      .option("--no-healthcheck", "without the image's check"),
];

export function runCommand(): Command {
  const command = new Command("run")
    .description("run a command in a container of an image: to its end, or with --detach beside everything else")
    .usage("[flags] IMAGE [ARGUMENT...]")
    .argument("[image]", "the image")
    .argument("[argument...]", "in place of the command that the image names; flags behind it are its own");
  for (const add of GROUPS) add(command);
  command.passThroughOptions();
  allowClusters(command);
  command.action(async (image: string | undefined, args: string[], flags: RunFlags) => {
    try {
      const wanted = required(image, "image", command);
      if (flags.restart !== undefined && flags.restart !== "no" && (!flags.detach || flags.rm))
        throw new Error(`--restart ${flags.restart} needs --detach, and does not go together with --rm`);
      const client = await openClient(command);
      // Loaded here: other commands need none of it.
      const { runContainer, startContainer } = await import("./run-container.js");
      const request = { client, image: wanted, args, flags };
      if (flags.detach) await print(`${await endingWell((signal) => startContainer({ ...request, signal }))}\n`);
      else process.exitCode = await endingWell((signal) => runContainer({ ...request, signal }));
    } catch (error) {
      throw failedRun(error, flags.name);
    }
  });
  return addExamples(
    command,
    "ctr run alpine echo hello",
    "ctr run -it --network host alpine sh",
    "ctr run -d --name web -p 8080:80 nginx",
  );
}
