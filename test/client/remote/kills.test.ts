/** Events over kills: the daemon dies again and again while containers start and end; every event is seen once. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ContainerdError, Remote, type v0 } from "../../../src/client/index.js";
import { formatTimestamp } from "../../../src/client/timestamp.js";
import { TestDaemon } from "../../harness/daemon.js";
import { times } from "../../harness/extent.js";
import { daemonProgram, shimProgram } from "../../harness/paths.js";
import { kill } from "../../harness/processes.js";
import { eventually, sleep } from "../../harness/wait.js";

const KILLS = times(20, 6);
const LOADERS = 4;

interface LoggedEvent {
  id: string;
  type: string;
  timestamp: string;
  pid?: string;
  status?: number;
}

test("kills under load: every event exactly once", async () => {
  await using place = new TestDaemon({});
  const stateDir = join(place.dir, "remote");
  await using remote = await Remote.start({
    stateDir,
    program: [process.execPath, daemonProgram],
    shim: shimProgram,
    output: "ignore",
    args: ["--retain-count", "20000"],
  });

  const seen: v0.wire.Event[] = [];
  const reading = new AbortController();
  const reader = (async () => {
    for await (const event of remote.events({ signal: reading.signal })) seen.push(event);
  })();

  /** Containers whose start was answered with success. */
  const started: string[] = [];
  let refused = 0;
  let loading = true;
  const bundle = place.bundle("load", { args: ["sh", "-c", "sleep 0.$(($$ % 3)); exit 7"] });
  let next = 0;
  const load = async () => {
    while (loading) {
      const id = place.id(`load-${next++}`);
      try {
        await remote.client.v0.containers.start({ id, bundle, stdio: "ignore" });
        started.push(id);
      } catch (error) {
        // Lost with the daemon: nobody was told that it runs.
        if (!(error instanceof ContainerdError)) throw error;
        refused++;
        await sleep(20);
      }
    }
  };
  const loaders = Array.from({ length: LOADERS }, load);

  // On this machine, as busy as it is.
  const begin = performance.now();
  await eventually(() => started.length >= LOADERS, { what: "the first starts" });
  const usualStart = performance.now() - begin;

  const pids = new Set<number>();
  for (let round = 0; round < KILLS; round++) {
    // At any point of a start, an exit or a restore: every other daemon has begun its work again, the rest may just be starting.
    const before = started.length;
    if (round % 2 === 0) await eventually(() => started.length > before, { what: "a start" });
    await sleep(Math.random() * usualStart);
    const { pid } = remote;
    kill(pid);
    await eventually(() => remote.pid !== pid, { what: "another daemon" });
    pids.add(pid);
  }
  expect(pids.size).toBe(KILLS);
  const before = started.length;
  await eventually(() => started.length > before, { what: "a start by the last daemon" });
  loading = false;
  await Promise.all(loaders);
  const exitsSeen = (id: string) => seen.filter((event) => event.id === id && event.type === "exit").length;
  await eventually(() => started.every((id) => exitsSeen(id) > 0), { what: "the last exit" });
  await eventually(async () => (await remote.client.v0.containers.list()).length === 0, {
    what: "no container",
  });
  await sleep(200);
  reading.abort();
  await reader;

  expect(started.length).toBeGreaterThan(KILLS / 2);
  console.log(`${started.length} containers started, ${refused} starts lost, ${seen.length} events`);
  // What the reader saw is what the daemons stored, in that order.
  const logged = readFileSync(join(stateDir, "containerd/events.log"), "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as LoggedEvent);
  const summary = ({ id, type, timestamp }: LoggedEvent) => `${timestamp} ${type} ${id}`;
  expect(seen.map(({ id, type, timestamp }) => summary({ id, type, timestamp: formatTimestamp(timestamp!) }))).toEqual(
    logged.map(summary),
  );
  // And what they stored is what has happened.
  for (const id of new Set(seen.map((event) => event.id)))
    expect({ id, events: seen.filter((event) => event.id === id).map(({ type }) => type) }).toEqual({
      id,
      events: ["start-container", "exit"],
    });
  expect(new Set(started.filter((id) => exitsSeen(id) !== 1))).toEqual(new Set());
  const own = seen.filter(({ id, type }) => started.includes(id) && type === "exit");
  expect(own.filter(({ status }) => status !== 7)).toEqual([]);
});
