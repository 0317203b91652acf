/** Profiles over HTTP, and SIGUSR1. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { eventually, sleep } from "../harness/wait.js";
import { get, listening, portOf } from "./http-get.js";

interface ProfileNode {
  id: number;
  callFrame: { functionName: string; scriptId: string; url: string; lineNumber: number; columnNumber: number };
  hitCount?: number;
  children?: number[];
}

interface Profile {
  nodes: ProfileNode[];
  startTime: number;
  endTime: number;
  samples: number[];
  timeDeltas: number[];
}

/** What DevTools and speedscope rely on when they open a .cpuprofile: a tree, and samples that point into it, each with a time. */
function checkProfile({ nodes, startTime, endTime, samples, timeDeltas }: Profile): void {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  expect(byId.size).toBe(nodes.length);
  const parents = new Map<number, number>();
  for (const { id, children = [] } of nodes) {
    for (const child of children) {
      expect(byId.has(child)).toBe(true);
      expect(parents.has(child)).toBe(false);
      parents.set(child, id);
    }
  }
  const roots = nodes.filter(({ id }) => !parents.has(id));
  expect(roots.map(({ callFrame }) => callFrame.functionName)).toEqual(["(root)"]);
  for (const { callFrame } of nodes) {
    expect(typeof callFrame.functionName).toBe("string");
    expect(typeof callFrame.url).toBe("string");
    expect(Number.isInteger(callFrame.lineNumber) && Number.isInteger(callFrame.columnNumber)).toBe(true);
  }
  expect(samples.length).toBeGreaterThan(0);
  expect(timeDeltas.length).toBe(samples.length);
  expect(samples.every((id) => byId.has(id))).toBe(true);
  expect(timeDeltas.every(Number.isInteger)).toBe(true);
  // Microseconds, from the start to the last sample.
  const covered = timeDeltas.reduce((sum, delta) => sum + delta, 0);
  expect(endTime).toBeGreaterThan(startTime);
  expect(covered).toBeLessThanOrEqual((endTime - startTime) * 1.01);
  expect(covered).toBeGreaterThan((endTime - startTime) * 0.8);
}

/** Keeps a daemon busy with calls until the returned function is called. */
function busy(daemon: TestDaemon): () => Promise<void> {
  let stop = false;
  const work = Promise.all(
    Array.from({ length: 8 }, async () => {
      while (!stop) await daemon.api.state();
    }),
  );
  return async () => {
    stop = true;
    await work;
  };
}

test("a CPU profile taken under load is what DevTools and speedscope open, and shows the work", async () => {
  await using daemon = await startDaemon({ flags: ["--pprof-address", "127.0.0.1:0"] });
  const port = await portOf(daemon, "--pprof-address");
  using container = await startContainer(daemon, { name: "one", args: ["sleep", "1000"] });
  void container;
  const rest = busy(daemon);
  const { status, headers, body } = await get(port, "/debug/pprof/profile?seconds=2");
  await rest();
  expect(status).toBe(200);
  expect(headers["content-type"]).toBe("application/json");
  expect(headers["content-disposition"]).toMatch(/^attachment; filename="containerd-\d+\.cpuprofile"$/);
  const profile = JSON.parse(body) as Profile;
  checkProfile(profile);
  const lasted = (profile.endTime - profile.startTime) / 1e6;
  expect(lasted).toBeGreaterThan(1.9);
  // Not the 30 s that it is without a number.
  expect(lasted).toBeLessThan(30);
  const functions = new Set(profile.nodes.map(({ callFrame }) => callFrame.functionName));
  expect(functions.has("readState")).toBe(true);
  const idle = profile.nodes.find(({ callFrame }) => callFrame.functionName === "(idle)");
  // How many there are depends on what else the machine is at.
  expect(profile.samples.filter((id) => id !== idle?.id).length).toBeGreaterThan(20);
});

test("one profile at a time; one that nobody waits for any more ends", async () => {
  await using daemon = await startDaemon({ flags: ["--pprof-address", "127.0.0.1:0"] });
  const port = await portOf(daemon, "--pprof-address");
  const left = new AbortController();
  const long = get(port, "/debug/pprof/profile?seconds=600", { signal: left.signal });
  long.catch(() => {});
  await eventually(async () => (await get(port, "/debug/pprof/profile?seconds=0.01")).status === 409);
  left.abort();
  await expect(long).rejects.toThrow("aborted");
  await eventually(async () => (await get(port, "/debug/pprof/profile?seconds=0.1")).status === 200);
});

test.each(["0", "-1", "soon", "601"])("seconds=%s is refused", async (seconds) => {
  await using daemon = await startDaemon({ flags: ["--pprof-address", "127.0.0.1:0"] });
  const port = await portOf(daemon, "--pprof-address");
  for (const path of ["profile", "event-loop"])
    expect((await get(port, `/debug/pprof/${path}?seconds=${seconds}`)).status).toBe(400);
});

test("a heap snapshot through a unix socket; over TCP it is refused, since it holds secrets", async () => {
  await using elsewhere = await startDaemon({ flags: ["--pprof-address", "127.0.0.1:0"] });
  const socket = join(elsewhere.dir, "p");
  await using daemon = await startDaemon({ flags: ["--pprof-address", `unix://${socket}`] });
  await listening(daemon, "--pprof-address");
  const { headers, body } = await get(socket, "/debug/pprof/heap");
  expect(headers["content-disposition"]).toContain(".heapsnapshot");
  const snapshot = JSON.parse(body);
  const { meta, node_count, edge_count } = snapshot.snapshot;
  expect(snapshot.nodes.length).toBe(node_count * meta.node_fields.length);
  expect(snapshot.edges.length).toBe(edge_count * meta.edge_fields.length);
  // Every node's name is a string of the file, every edge leads to the beginning of a node, and the nodes' edges are all of them.
  const every = (numbers: number[], width: number, field: number, holds: (value: number) => boolean) => {
    for (let at = field; at < numbers.length; at += width) if (!holds(numbers[at]!)) return false;
    return true;
  };
  const [nodeWidth, edgeWidth] = [meta.node_fields.length, meta.edge_fields.length];
  expect(every(snapshot.nodes, nodeWidth, meta.node_fields.indexOf("name"), (n) => n < snapshot.strings.length)).toBe(
    true,
  );
  expect(
    every(
      snapshot.edges,
      edgeWidth,
      meta.edge_fields.indexOf("to_node"),
      (n) => n % nodeWidth === 0 && n < snapshot.nodes.length,
    ),
  ).toBe(true);
  let edges = 0;
  for (let at = meta.node_fields.indexOf("edge_count"); at < snapshot.nodes.length; at += nodeWidth)
    edges += snapshot.nodes[at];
  expect(edges).toBe(edge_count);
  expect(snapshot.strings).toContain("Tasks");
  expect((await daemon.api.getServerVersion()).major).toBe(0);
  const refused = await get(await portOf(elsewhere, "--pprof-address"), "/debug/pprof/heap");
  expect(refused.status).toBe(403);
  expect(refused.body).toContain("unix://");
});

test("statistics of the event loop, and an index", async () => {
  await using daemon = await startDaemon({ flags: ["--pprof-address", "127.0.0.1:0"] });
  const port = await portOf(daemon, "--pprof-address");
  const idle = JSON.parse((await get(port, "/debug/pprof/event-loop?seconds=0.5")).body);
  const rest = busy(daemon);
  const loaded = JSON.parse((await get(port, "/debug/pprof/event-loop?seconds=0.5")).body);
  await rest();
  expect(idle).toMatchObject({ duration: 500, resources: { TCPServerWrap: 1 } });
  expect(idle.delay.samples).toBeGreaterThan(5);
  expect(loaded.utilization).toBeGreaterThan(idle.utilization);
  expect(loaded.utilization).toBeLessThanOrEqual(1);
  const { body } = await get(port, "/debug/pprof/");
  for (const name of ["profile", "heap", "event-loop"]) expect(body).toContain(`/debug/pprof/${name}`);
  expect((await get(port, "/debug/pprof/goroutine")).status).toBe(404);
});

/** Ports of 127.0.0.1 and everywhere that a process listens on, from its own network namespace. */
function listeningPorts(): Set<number> {
  const ports = new Set<number>();
  for (const file of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of readFileSync(file, "utf8").split("\n").slice(1)) {
      const [, local, , state] = line.trim().split(/\s+/);
      if (state === "0A") ports.add(Number.parseInt(local!.split(":")[1]!, 16));
    }
  }
  return ports;
}

const INSPECTOR_PORT = 9229;

test("SIGUSR1 opens no inspector, however early it comes", async () => {
  await using daemon = await startDaemon();
  const open = listeningPorts().has(INSPECTOR_PORT);
  for (let n = 0; n < 20; n++) {
    process.kill(daemon.pid, "SIGUSR1");
    await sleep(10);
  }
  await eventually(() => daemon.log.split('msg="containerd: state"').length > 2);
  await sleep(300);
  expect(listeningPorts().has(INSPECTOR_PORT)).toBe(open);
  expect(daemon.log).not.toMatch(/Debugger listening|inspector/i);
  // While it is still starting: the state directory is made first of all.
  await daemon.stop();
  rmSync(daemon.stateDir, { recursive: true });
  daemon.spawn();
  await eventually(() => existsSync(daemon.stateDir), { interval: 1 });
  process.kill(daemon.pid, "SIGUSR1");
  await sleep(500);
  expect(daemon.log).not.toMatch(/Debugger listening|inspector/i);
  expect(listeningPorts().has(INSPECTOR_PORT)).toBe(open);
});

/** SIGUSR1 in the SigCgt mask of /proc/<pid>/status: bit 9 of the last three hexadecimal digits. */
function catchesSigusr1(pid: number): boolean {
  const digits = /^SigCgt:\s+([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0";
  return (Number.parseInt(digits.slice(-3), 16) & 0x200) !== 0;
}

test("an inspector that SIGUSR1 has opened before the daemon's own code ran is closed", async () => {
  await using daemon = await startDaemon();
  const open = listeningPorts().has(INSPECTOR_PORT);
  for (let round = 0; round < 3; round++) {
    await daemon.stop();
    daemon.spawn();
    // Node has its handler now, the daemon not yet.
    await eventually(() => catchesSigusr1(daemon.pid), { interval: 1 });
    process.kill(daemon.pid, "SIGUSR1");
    await eventually(() => daemon.api.getServerVersion({ timeout: 1000 }));
    await eventually(() => listeningPorts().has(INSPECTOR_PORT) === open);
    await sleep(200);
    expect(listeningPorts().has(INSPECTOR_PORT)).toBe(open);
  }
});

test("SIGUSR1 tells what every container, operation and wait is doing", async () => {
  await using daemon = await startDaemon({ flags: ["--start-workers", "1"] });
  using container = await startContainer(daemon, { name: "calm", args: ["sleep", "1000"] });
  const wrapper = wrapRuntime(daemon.dir, "hanging", "create", { kind: "hang" });
  wrapper.on();
  const left = new AbortController();
  const stuck = startContainer(daemon, {
    name: "stuck",
    args: ["true"],
    request: { runtime: wrapper.path },
    call: { signal: left.signal },
  });
  stuck.catch(() => {});
  await wrapper.called("create");
  const waiting = startContainer(daemon, { name: "queued", args: ["true"], call: { signal: left.signal } });
  waiting.catch(() => {});
  // Nothing tells that the start has been queued but what is asked for here.
  const dump = await eventually(async () => {
    const before = daemon.log.length;
    process.kill(daemon.pid, "SIGUSR1");
    const told = await eventually(() => {
      const log = daemon.log.slice(before);
      return /state of event subscriber.*\n/.test(log) ? log : undefined;
    });
    return told.includes("queuedStarts=1") ? told : undefined;
  });
  const line = (...parts: string[]) =>
    expect(
      dump.split("\n").find((text) => parts.every((part) => text.includes(part))),
      parts.join(" "),
    ).toBeDefined();
  line('"containerd: state"', "containers=1", "operations=2", "queuedStarts=1");
  line("state of container", `id=${container.id}`, "status=running", "processes=1");
  line("state of process", `id=${container.id}`, "pid=init", "systemPid=", "waitsFor=");
  line("state of operation", "kind=start", `id=${daemon.id("stuck")}`, 'doing="runtime create"', "duration=");
  line("state of operation", "kind=start", `id=${daemon.id("queued")}`, 'doing="waiting for a start worker"');
  line("state of event subscriber", 'id=""', "waiting=0");
  left.abort();
  await Promise.allSettled([stuck, waiting]);
});
