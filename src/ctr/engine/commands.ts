import { Command, InvalidArgumentError } from "commander";
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
  const command = new Command("stop")
    .description("stop containers of images: their stop signal, then SIGKILL")
    .usage("[flags] CONTAINER...")
    .argument("[container...]", "ids, beginnings of ids, or names")
    .option("-t, --time <seconds>", "until they are killed (default: what each says, or 10)", seconds);
  command.action(async (names: string[], { time }: { time?: number }) => {
    required(names[0], "container", command);
    const grace = time === undefined ? undefined : time * 1000;
    await each(await openClient(command), names, async (container) => {
      await container.stop({ grace });
    });
  });
  return addExamples(command, "ctr stop web");
}

function seconds(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("It must be a number of seconds.");
  return Number(text);
}

export function startCommand(): Command {
  const command = new Command("start")
    .description("start containers of images that have stopped")
    .usage("CONTAINER...")
    .argument("[container...]", "ids, beginnings of ids, or names");
  command.action(async (names: string[]) => {
    required(names[0], "container", command);
    await each(await openClient(command), names, (container) => container.start());
  });
  return addExamples(command, "ctr start web");
}

export function restartCommand(): Command {
  const command = new Command("restart")
    .description("stop containers of images, and start them again")
    .usage("[flags] CONTAINER...")
    .argument("[container...]", "ids, beginnings of ids, or names")
    .option("-t, --time <seconds>", "until they are killed (default: what each says, or 10)", seconds);
  command.action(async (names: string[], { time }: { time?: number }) => {
    required(names[0], "container", command);
    const grace = time === undefined ? undefined : time * 1000;
    await each(await openClient(command), names, (container) => container.restart({ grace }));
  });
  return addExamples(command, "ctr restart web");
}

export function killCommand(): Command {
  const command = new Command("kill")
    .description("send a signal to the first process of containers of images")
    .usage("[flags] CONTAINER...")
    .argument("[container...]", "ids, beginnings of ids, or names")
    .option("-s, --signal <signal>", "name or number: HUP, SIGHUP, 1", "KILL");
  command.action(async (names: string[], { signal }: { signal: string }) => {
    required(names[0], "container", command);
    signalNumber(signal);
    await each(await openClient(command), names, (container) => container.kill(signal));
  });
  return addExamples(command, "ctr kill --signal HUP web");
}

export function inspectCommand(): Command {
  const command = new Command("inspect")
    .description("print all that is known of a container of an image, as JSON")
    .usage("CONTAINER...")
    .argument("[container...]", "ids, beginnings of ids, or names");
  command.action(async (names: string[]) => {
    required(names[0], "container", command);
    const client = await openClient(command);
    for (const name of names) await printJsonLines([await (await client.containers.get(name)).inspect()]);
  });
  return addExamples(command, "ctr inspect web | jq .endpoints");
}

export function removeCommand(): Command {
  const command = new Command("rm")
    .alias("remove")
    .description("remove containers of images, with their files")
    .usage("[flags] CONTAINER...")
    .argument("[container...]", "ids, beginnings of ids, or names")
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
