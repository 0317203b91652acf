/** Very many `run()` calls, some of which are aborted or time out at a random moment; each must end as it should. */
import { readdirSync } from "node:fs";
import { type Client, ContainerdError, connect, v0 } from "../../src/client/index.js";
import type { TestDaemon } from "../harness/daemon.js";
import { openDescriptors } from "../harness/processes.js";
import { sharedRootfs } from "../harness/rootfs.js";
import { eventually } from "../harness/wait.js";

export interface RunLoadOptions {
  runs: number;
  /** Runs at a time. */
  parallel: number;
  /** The same seed makes the same runs. */
  seed: number;
}

export interface RunLoadResult {
  /** How many ended how. */
  outcomes: Record<string, number>;
  /** What was not as it should be. */
  wrong: string[];
  seconds: number;
  /** Descriptors of the client's process and of the daemon, before and after. */
  descriptors: { client: [number, number]; daemon: [number, number] };
}

type Random = () => number;

/** Mulberry32: a small generator whose sequence depends on the seed alone. */
function generator(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type BaseOptions = Pick<v0.RunOptions, "rootfs" | "bundleDir" | "stdioDir" | "id">;

/** One kind of run: performs it, and answers how it ended. Throws when that is wrong. */
type Kind = (client: Client, options: BaseOptions, random: Random) => Promise<string>;

class Wrong extends Error {}

function check(condition: boolean, what: string): void {
  if (!condition) throw new Wrong(what);
}

/** Reads its input back, complains, and ends with a status. */
const echo: Kind = async (client, options, random) => {
  const status = Math.floor(random() * 120);
  const input = "0123456789abcdef".repeat(Math.floor(random() ** 3 * 20_000));
  const result = await client.v0.run({
    ...options,
    args: ["sh", "-c", `cat; echo complaint >&2; exit ${status}`],
    input,
    encoding: "utf8",
  });
  check(result.stdout === input, `${result.stdout.length} bytes came back of ${input.length}`);
  check(result.stderr === "complaint\n", `stderr is "${result.stderr}"`);
  check(result.status === status, `status ${result.status} instead of ${status}`);
  check(!result.oomKilled, "it was out of memory");
  return "ended";
};

/** Has started to print when its time is up, or not even been started. */
const timeout: Kind = async (client, options, random) => {
  try {
    await client.v0.run({ ...options, args: ["sh", "-c", "echo begun; sleep 1000"], timeout: 1 + random() * 1500 });
  } catch (error) {
    check(error instanceof v0.RunError && error.reason === "timeout", String(error));
    const { stdout } = error as v0.RunError;
    check(stdout === "" || stdout === "begun\n", `stdout is "${stdout}"`);
    return stdout === "" ? "timed out before it printed" : "timed out";
  }
  throw new Wrong("it did not time out");
};

const abort: Kind = async (client, options, random) => {
  const controller = new AbortController();
  const reason = new Error("changed my mind");
  setTimeout(() => controller.abort(reason), random() * 1500);
  try {
    await client.v0.run({ ...options, args: ["sleep", "1000"], signal: controller.signal });
  } catch (error) {
    check(error === reason, String(error));
    return "aborted";
  }
  throw new Wrong("it was not aborted");
};

/** Ends at about the moment at which it is aborted: either is right. */
const race: Kind = async (client, options, random) => {
  const controller = new AbortController();
  const reason = new Error("too late?");
  setTimeout(() => controller.abort(reason), random() * 1500);
  try {
    const { stdout, status } = await client.v0.run({
      ...options,
      args: ["sh", "-c", `sleep ${(random() / 2).toFixed(3)}; echo done; exit 9`],
      signal: controller.signal,
    });
    check(stdout === "done\n" && status === 9, `status ${status}, stdout "${stdout}"`);
    return "ended before it was aborted";
  } catch (error) {
    check(error === reason, String(error));
    return "aborted before it ended";
  }
};

const noSuchCommand: Kind = async (client, options) => {
  try {
    await client.v0.run({ ...options, args: ["/bin/no-such-command"] });
  } catch (error) {
    check(error instanceof ContainerdError && error.message.includes("no such file or directory"), String(error));
    return "refused";
  }
  throw new Wrong("it was not refused");
};

const tooMuch: Kind = async (client, options) => {
  try {
    await client.v0.run({ ...options, args: ["yes"], maxOutput: 100_000 });
  } catch (error) {
    check(error instanceof v0.RunError && error.reason === "output", String(error));
    check((error as v0.RunError).stdout.length === 100_000, `${(error as v0.RunError).stdout.length} bytes were kept`);
    return "printed too much";
  }
  throw new Wrong("it was not ended");
};

/**
 * Needs more memory than it may have. Its parent outlives it by a moment: with cgroup v1 the daemon cannot tell an OOM kill from the
 * removal of the cgroup when it comes to look only after both, and one such container in ten is that quick on a busy machine.
 */
const greedy: Kind = async (client, options) => {
  const result = await client.v0.run({
    ...options,
    args: ["sh", "-c", "sh -c 'x=0123456789abcdef; while :; do x=$x$x$x$x; done'; sleep 0.5; exit 9"],
    limits: { memory: 16 << 20 },
  });
  check(result.oomKilled, `it was not out of memory: ${JSON.stringify({ ...result, stats: undefined })}`);
  check(result.status === 9, `status ${result.status}`);
  return "out of memory";
};

/** How a run may end, so that a load can tell that it has seen each of them. */
export const ENDINGS = [
  ["ended"],
  ["timed out", "timed out before it printed"],
  ["aborted"],
  ["ended before it was aborted", "aborted before it ended"],
  ["refused"],
  ["printed too much"],
  ["out of memory"],
];

const kinds: [number, Kind][] = [
  [0.4, echo],
  [0.6, timeout],
  [0.75, abort],
  [0.9, race],
  [0.95, noSuchCommand],
  [0.98, tooMuch],
  [1, greedy],
];

/** Performs them, and waits until nothing is left. */
export async function runLoad(daemon: TestDaemon, { runs, parallel, seed }: RunLoadOptions): Promise<RunLoadResult> {
  const random = generator(seed);
  const outcomes: Record<string, number> = {};
  const wrong: string[] = [];
  await using client = connect(daemon.listen);
  const options = { rootfs: sharedRootfs(), bundleDir: daemon.dir, stdioDir: daemon.dir };
  // What is made once and stays: the connection, the loaded library, the daemon's own.
  await client.v0.run({ ...options, args: ["true"] });
  await daemon.expectNothingLeft();
  const descriptors = () => ({
    client: openDescriptors(process.pid).size,
    daemon: openDescriptors(daemon.pid).size,
  });
  const before = descriptors();
  const started = performance.now();
  let next = 0;
  const worker = async () => {
    while (next < runs) {
      const number = next++;
      const choice = random();
      const kind = kinds.find(([share]) => choice < share)![1];
      const own = generator(seed * 7919 + number);
      let outcome: string;
      try {
        outcome = await kind(client, { ...options, id: daemon.id(`run-${number}`) }, own);
      } catch (error) {
        outcome = "wrong";
        wrong.push(`run ${number}, ${kind.name}: ${error}`);
      }
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  const seconds = (performance.now() - started) / 1000;
  try {
    await daemon.expectNothingLeft();
    const left = readdirSync(daemon.dir).filter((name) => name.startsWith("ctr-"));
    if (left.length > 0) wrong.push(`left in the private directory: ${left.join(", ")}`);
    await eventually(
      () => {
        const now = descriptors();
        return now.client <= before.client && now.daemon <= before.daemon;
      },
      { what: "as few descriptors as before" },
    );
  } catch (error) {
    wrong.push((error as Error).message);
  }
  const after = descriptors();
  return {
    outcomes,
    wrong,
    seconds,
    descriptors: { client: [before.client, after.client], daemon: [before.daemon, after.daemon] },
  };
}
