import { Command, InvalidArgumentError, Option } from "commander";
import type { Client, Container, PortBinding } from "../../client/index.js";
import { allowClusters } from "../../contract/go/argv.js";
import { signalNumber } from "../../contract/signals.js";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { addOutputFlags, outputFlags, printJsonLines, printNames } from "../output/output-flags.js";
import { print } from "../output/print.js";
import { tabwriter } from "../output/tabwriter.js";

const LAYOUT = { minWidth: 1, padding: 3 };

/** Of containers of images: those of bundles are `ctr containers`. */
export function psCommand(): Command {
  const command = new Command("ps")
    .description("list the containers of images that run")
    .option("-a, --all", "those that do not run, too");
  addOutputFlags(command, "ids");
  allowClusters(command);
  command.action(async ({ all = false }: { all?: boolean }) => {
    const { json, quiet } = outputFlags(command);
    const client = await openClient(command);
    const running = ["running", "paused", "restarting"] as const;
    const containers = await client.containers.list(all ? {} : { status: running });
    if (quiet) return await printNames(containers.map(({ id }) => id));
    const infos = containers.map(({ info }) => info!);
    if (json)
      return await printJsonLines(
        infos.map(({ id, name, image, status, labels, ports, createdAt, exit }) => ({
          ...{ id, name, image, status, labels, ports, createdAt },
          exitStatus: exit?.status ?? null,
        })),
      );
    const rows = infos.map(({ id, image, args, status, exit, health, ports, name }) => [
      id.slice(0, 12),
      image.replace(/^docker\.io\/(library\/)?/, "") || "-",
      JSON.stringify(args.join(" ").slice(0, 20)),
      status === "stopped" && exit ? `stopped (${exit.status})` : health ? `${status} (${health.status})` : status,
      ports.map((port) => portText(port)).join(", ") || "-",
      name || "-",
    ]);
    await print(tabwriter([["ID", "IMAGE", "COMMAND", "STATUS", "PORTS", "NAME"], ...rows], LAYOUT));
  });
  return addExamples(command, "ctr ps", "ctr ps -aq");
}

/** `0.0.0.0:8080->80/tcp` */
export function portText({ hostAddress, hostPort, containerPort, protocol }: PortBinding, arrow = "->"): string {
  const address = hostAddress.includes(":") ? `[${hostAddress}]` : hostAddress || "0.0.0.0";
  return `${address}:${hostPort}${arrow}${containerPort}/${protocol}`;
}

export function stopCommand(): Command {
  const command = onContainers("stop", "stop containers of images: their stop signal, then SIGKILL").addOption(
    graceOption(),
  );
  command.action(async (names: string[], { time: grace }: { time?: number }) => {
    required(names[0], "container", command);
    await each(await openClient(command), names, async (container) => {
      await container.stop({ grace });
    });
  });
  return addExamples(command, "ctr stop web");
}

/** A command for one or several containers of images. */
function onContainers(name: string, description: string, usage = "[flags] CONTAINER..."): Command {
  return new Command(name)
    .description(description)
    .usage(usage)
    .argument("[container...]", "ids, beginnings of ids, or names");
}

/** In ms. */
function graceOption(): Option {
  const text = "until they are killed (default: what each says, or 10)";
  return new Option("-t, --time <seconds>", text).argParser((seconds) => {
    if (!/^\d+$/.test(seconds)) throw new InvalidArgumentError("It must be a number of seconds.");
    return Number(seconds) * 1000;
  });
}

export function startCommand(): Command {
  const command = onContainers("start", "start containers of images that have stopped", "CONTAINER...");
  command.action(async (names: string[]) => {
    required(names[0], "container", command);
    await each(await openClient(command), names, (container) => container.start());
  });
  return addExamples(command, "ctr start web");
}

export function restartCommand(): Command {
  const command = onContainers("restart", "stop containers of images, and start them again").addOption(graceOption());
  command.action(async (names: string[], { time: grace }: { time?: number }) => {
    required(names[0], "container", command);
    await each(await openClient(command), names, (container) => container.restart({ grace }));
  });
  return addExamples(command, "ctr restart web");
}

export function killCommand(): Command {
  const command = onContainers("kill", "send a signal to the first process of containers of images").option(
    "-s, --signal <signal>",
    "name or number: HUP, SIGHUP, 1",
    "KILL",
  );
  command.action(async (names: string[], { signal }: { signal: string }) => {
    required(names[0], "container", command);
    signalNumber(signal);
    await each(await openClient(command), names, (container) => container.kill(signal));
  });
  return addExamples(command, "ctr kill --signal HUP web");
}

export function inspectCommand(): Command {
  const command = onContainers(
    "inspect",
    "print all that is known of a container of an image, as JSON",
    "CONTAINER...",
  );
  command.action(async (names: string[]) => {
    required(names[0], "container", command);
    const client = await openClient(command);
    for (const name of names) await printJsonLines([await (await client.containers.get(name)).inspect()]);
  });
  return addExamples(command, "ctr inspect web | jq .endpoints");
}

export function removeCommand(): Command {
  const command = onContainers("rm", "remove containers of images, with their files")
    .alias("remove")
    .option("-f, --force", "kill those that run");
  command.action(async (names: string[], { force = false }: { force?: boolean }) => {
    required(names[0], "container", command);
    await each(await openClient(command), names, (container) => container.remove({ force }));
  });
  return addExamples(command, "ctr rm -f web");
}

/** All at once; prints the names of those for which it was done. @throws the first error, when all are through */
async function each(
  client: Client,
  names: readonly string[],
  work: (container: Container) => Promise<void>,
): Promise<void> {
  const outcomes = await Promise.allSettled(names.map(async (name) => await work(await client.containers.get(name))));
  await printNames(names.filter((_, index) => outcomes[index]!.status === "fulfilled"));
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}
