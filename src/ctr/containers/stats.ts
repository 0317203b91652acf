import { Command } from "commander";
import type { Client } from "../../client/index.js";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { endingWell, Interrupted } from "../ending.js";
import { print } from "../output/print.js";
import { printJson } from "../output/print-json.js";
import { type Sample, statsTable } from "./stats-table.js";

const INTERVAL = 1000;

export function containersStatsCommand(): Command {
  const command = new Command("stats")
    .description("print what a container uses, as JSON")
    .usage("ID | --watch [ID...]")
    .argument("[id...]", "the container; with --watch several, or none for all of them")
    .option("-w, --watch", "show a table that is renewed every second");
  command.action(async (ids: string[], { watch }: { watch?: boolean }) => {
    if (watch) {
      await watchStats(await openClient(command), ids);
      return;
    }
    const id = required(ids[0], "container id", command);
    if (ids.length > 1) throw new Error(`one container at a time, not "${ids.join(" ")}", unless with --watch`);
    const client = await openClient(command);
    await printJson(await client.v0.api.stats({ id }));
  });
  return addExamples(
    command,
    "ctr containers stats web | jq .cgroup_stats.memory_stats.usage",
    "ctr containers stats --watch",
  );
}

const HIDE_CURSOR = "\x1b[?25l";
const SHOW_CURSOR = "\x1b[?25h";

async function watchStats(client: Client, ids: readonly string[]): Promise<void> {
  const live = process.stdout.isTTY;
  const before = new Map<string, Sample>();
  try {
    if (live) await print(HIDE_CURSOR);
    await endingWell(async (signal) => {
      let drawn = 0;
      for (let first = true; ; first = false) {
        const started = performance.now();
        const { machine, samples } = await takeSamples(client, ids, signal);
        // With ids given, there is no more to see when all of them have ended.
        if (ids.length > 0 && samples.length === 0) {
          if (first) await client.v0.api.state({ id: ids[0]! }, { signal });
          return;
        }
        const lines = statsTable(samples, before, machine);
        drawn = await draw(lines, live ? drawn : 0, live);
        before.clear();
        for (const sample of samples) before.set(sample.id, sample);
        // A CPU's share needs two samples: the second one comes soon.
        await pause((first ? INTERVAL / 4 : INTERVAL) - (performance.now() - started), signal);
      }
    });
  } catch (error) {
    // Ctrl-C is how one leaves.
    if (!(error instanceof Interrupted && error.exitCode === 130)) throw error;
  } finally {
    if (live) await print(SHOW_CURSOR);
  }
}

async function takeSamples(client: Client, ids: readonly string[], signal: AbortSignal) {
  const { containers, machine } = await client.v0.api.state({}, { signal });
  const wanted = containers
    .filter(({ id }) => ids.length === 0 || ids.includes(id))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  const samples = await Promise.all(
    wanted.map(async ({ id, status }): Promise<Sample | undefined> => {
      try {
        return { id, status, stats: await client.v0.api.stats({ id }, { signal }) };
      } catch (error) {
        // It has just ended.
        if ((error as { isNotFound?: boolean }).isNotFound) return undefined;
        throw error;
      }
    }),
  );
  return { machine, samples: samples.filter((sample) => sample !== undefined) };
}

/** Draws over the lines of the last time; returns how many there are now. */
async function draw(lines: string[], drawn: number, live: boolean): Promise<number> {
  if (!live) {
    await print(`${lines.join("\n")}\n\n`);
    return 0;
  }
  const { columns = 80, rows = 24 } = process.stdout;
  const shown = lines.slice(0, rows - 1).map((line) => line.slice(0, columns));
  const up = drawn > 0 ? `\x1b[${drawn}F` : "";
  await print(`${up}${shown.map((line) => `${line}\x1b[K\n`).join("")}\x1b[J`);
  return shown.length;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const aborted = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", aborted);
      resolve();
    }, ms);
    signal.addEventListener("abort", aborted, { once: true });
  });
}
