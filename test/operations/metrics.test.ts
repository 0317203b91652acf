/** The Prometheus endpoint: what it says is well-formed, and adds up. */
import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { findProgram } from "../harness/paths.js";
import { eventually, sleep } from "../harness/wait.js";
import { parseExposition, sampleValue } from "./exposition.js";
import { get, listening, portOf } from "./http-get.js";

const TCP = ["--metrics-address", "127.0.0.1:0"];

test.skipIf(!findProgram("promtool"))(
  "promtool has nothing to say about the metrics, idle and after some work",
  async () => {
    await using daemon = await startDaemon({ flags: [...TCP, "--container-metrics"] });
    const port = await portOf(daemon, "--metrics-address");
    const check = async () => {
      const { body, headers } = await get(port, "/metrics");
      expect(headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
      const { status, stdout, stderr } = spawnSync(findProgram("promtool")!, ["check", "metrics"], { input: body });
      expect(`${stdout}${stderr}`).toBe("");
      expect(status).toBe(0);
      return parseExposition(body);
    };
    await check();
    using container = await startContainer(daemon, { name: "work", args: ["sleep", "1000"], memoryLimit: 64 << 20 });
    using exec = await startExec(daemon, container, { pid: "e", args: ["true"] });
    void exec;
    await daemon.events.waitFor({ type: "exit", id: container.id, pid: "e" });
    await daemon.api.stats({ id: container.id });
    await expect(daemon.api.stats({ id: "nobody" })).rejects.toThrow();
    const samples = await check();
    const { id } = container;
    expect(sampleValue(samples, "containerd_container_start_duration_seconds_count")).toBe(1);
    expect(sampleValue(samples, "containerd_container_create_duration_seconds_count")).toBe(1);
    expect(sampleValue(samples, "containerd_exec_duration_seconds_count")).toBe(1);
    expect(sampleValue(samples, "containerd_exit_duration_seconds_count")).toBe(1);
    expect(sampleValue(samples, "containerd_container_stats_duration_seconds_count")).toBe(1);
    expect(sampleValue(samples, "containerd_operations_total", { kind: "stats", result: "failure" })).toBe(1);
    expect(sampleValue(samples, "containerd_events_total", { type: "start-process" })).toBe(1);
    expect(sampleValue(samples, "containerd_epoll_descriptors")).toBeGreaterThan(0);
    expect(sampleValue(samples, "containerd_event_subscribers")).toBe(1);
    expect(sampleValue(samples, "containerd_container_memory_usage_bytes", { id })).toBeGreaterThan(0);
    expect(sampleValue(samples, "containerd_container_pids", { id })).toBe(1);
    for (const name of ["nodejs_eventloop_lag_p99_seconds", "process_open_fds", "process_resident_memory_bytes"])
      expect(sampleValue(samples, name)).toBeGreaterThan(0);
    expect(samples.some(({ name }) => name === "nodejs_gc_duration_seconds_count")).toBe(true);
  },
);

test("scrapes during 100 starts and 100 exits add up", async () => {
  const all = 100;
  // With few workers most starts wait for one nearly all the time: a scrape sees that whenever it comes.
  await using daemon = await startDaemon({ flags: [...TCP, "--start-workers", "2"] });
  const port = await portOf(daemon, "--metrics-address");
  const scrape = async () => parseExposition((await get(port, "/metrics")).body);
  void daemon.events;
  // The spawner's.
  const watched = sampleValue(await scrape(), "containerd_epoll_descriptors");

  const starts = Array.from({ length: all }, (_, n) =>
    startContainer(daemon, { name: `c${n}`, args: ["sleep", "1000"] }),
  );
  let ended = false;
  const started = Promise.all(starts).finally(() => {
    ended = true;
  });
  started.catch(() => {});
  let between = 0;
  let queued = 0;
  while (!ended) {
    const samples = await scrape();
    const running = sampleValue(samples, "containerd_containers", { status: "running" });
    const underWay = sampleValue(samples, "containerd_operations_running", { kind: "start" });
    const succeeded = sampleValue(samples, "containerd_operations_total", { kind: "start", result: "success" });
    const queue = sampleValue(samples, "containerd_start_queue_length");
    expect(sampleValue(samples, "containerd_container_start_duration_seconds_count")).toBe(running);
    expect(sampleValue(samples, "containerd_events_total", { type: "start-container" })).toBe(running);
    // Each that runs has ended its start, or is about to.
    expect(succeeded).toBeLessThanOrEqual(running);
    expect(succeeded + underWay).toBeGreaterThanOrEqual(running);
    expect(succeeded + underWay).toBeLessThanOrEqual(all);
    // Those that read their config.json do not wait for a worker yet.
    expect(queue).toBeLessThanOrEqual(underWay);
    if (running > 0 && running < all) between++;
    if (queue > 0) queued++;
  }
  await started;
  expect(between).toBeGreaterThan(1);
  expect(queued).toBeGreaterThan(0);

  const full = await scrape();
  expect(sampleValue(full, "containerd_containers", { status: "running" })).toBe(all);
  expect(sampleValue(full, "containerd_operations_running", { kind: "start" })).toBe(0);
  expect(sampleValue(full, "containerd_operations_total", { kind: "start", result: "success" })).toBe(all);
  expect(sampleValue(full, "containerd_operations_total", { kind: "start", result: "failure" })).toBe(0);
  for (const part of ["create", "start"]) {
    const name = `containerd_container_${part}_duration_seconds`;
    const buckets = full.filter((sample) => sample.name === `${name}_bucket`);
    expect(buckets.at(-1)).toMatchObject({ labels: { le: "+Inf" }, value: all });
    expect(buckets.map(({ value }) => value)).toEqual(buckets.map(({ value }) => value).sort((a, b) => a - b));
    expect(sampleValue(full, `${name}_count`)).toBe(all);
    // The buckets fit: neither the first nor the last has them all.
    expect(buckets[0]!.value).toBeLessThan(all);
    expect(buckets.at(-2)!.value).toBe(all);
  }

  for (let n = 0; n < all; n++) await daemon.api.signal({ id: daemon.id(`c${n}`), pid: "init", signal: 9 });
  const empty = await eventually(
    async () => {
      const samples = await scrape();
      const exits = sampleValue(samples, "containerd_events_total", { type: "exit" });
      const left = sampleValue(samples, "containerd_containers", { status: "running" });
      expect(exits + left).toBeLessThanOrEqual(all);
      return exits === all && sampleValue(samples, "containerd_exit_duration_seconds_count") === all
        ? samples
        : undefined;
    },
    { what: "100 exits" },
  );
  for (const status of ["created", "running", "paused", "stopped"])
    expect(sampleValue(empty, "containerd_containers", { status })).toBe(0);
  expect(sampleValue(empty, "containerd_container_delete_duration_seconds_count")).toBe(all);
  expect(sampleValue(empty, "containerd_operations_total", { kind: "signal", result: "success" })).toBe(all);
  // At once, without waiting: an init's exit is counted only when its shim is reaped and neither is watched any more.
  expect(sampleValue(empty, "containerd_epoll_descriptors")).toBe(watched);
});

test("the event loop's lag: next to nothing when idle, all of it when something holds it up, forgotten by the next scrape", async () => {
  await using daemon = await startDaemon({ flags: TCP });
  const port = await portOf(daemon, "--metrics-address");
  const lag = async (part: string) =>
    sampleValue(parseExposition((await get(port, "/metrics")).body), `nodejs_eventloop_lag_${part}_seconds`);
  // Not the 20 ms that lie between two measurements. On a busy machine some come late, but not all.
  await eventually(async () => (await lag("min")) < 0.019, { interval: 100 });
  // What lies across a scrape counts for neither side: on a busy machine the daemon may not have begun to measure again, or not be done.
  await eventually(async () => {
    await sleep(100);
    process.kill(daemon.pid, "SIGSTOP");
    await sleep(400);
    process.kill(daemon.pid, "SIGCONT");
    await sleep(100);
    return (await lag("max")) > 0.3;
  });
  await eventually(async () => (await lag("max")) < 0.3, { interval: 100 });
});

test("container metrics tell containers apart, and forget those that are gone", async () => {
  await using daemon = await startDaemon({ flags: [...TCP, "--container-metrics"] });
  const port = await portOf(daemon, "--metrics-address");
  using busy = await startContainer(daemon, { name: "busy", args: ["sh", "-c", "while :; do :; done"] });
  using idle = await startContainer(daemon, { name: "idle", args: ["sleep", "1000"], memoryLimit: 32 << 20 });
  const read = async () => parseExposition((await get(port, "/metrics")).body);
  const cpu = "containerd_container_cpu_usage_seconds_total";
  const samples = await eventually(async () => {
    const now = await read();
    return sampleValue(now, cpu, { id: busy.id }) > 0.2 ? now : undefined;
  });
  expect(sampleValue(samples, cpu, { id: idle.id })).toBeLessThan(0.2);
  expect(sampleValue(samples, "containerd_container_memory_limit_bytes", { id: idle.id })).toBe(32 << 20);
  expect(sampleValue(samples, "containerd_container_memory_limit_bytes", { id: busy.id })).toBeNaN();
  await busy.kill();
  await busy.exit();
  const [one, two] = await Promise.all([read(), read()]);
  for (const later of [one, two]) {
    expect(sampleValue(later, cpu, { id: busy.id })).toBeNaN();
    expect(sampleValue(later, cpu, { id: idle.id })).toBeGreaterThan(0);
  }
  expect(sampleValue(samples, "containerd_containers", { status: "running" })).toBe(2);
});

describe("the endpoint", () => {
  test("on a unix socket: for the owner and its group only", async () => {
    await using daemon = await startDaemon();
    const socket = join(daemon.dir, "m");
    await using other = await startDaemon({ flags: ["--metrics-address", `unix://${socket}`] });
    await listening(other, "--metrics-address");
    expect(statSync(socket).mode & 0o777).toBe(0o660);
    expect((await get(socket, "/metrics")).body).toContain("containerd_build_info{version=");
    expect((await get(socket, "/other")).status).toBe(404);
    expect((await get(socket, "/metrics", { method: "POST" })).status).toBe(405);
    await other.stop();
    expect(statSync(socket, { throwIfNoEntry: false })).toBeUndefined();
  });

  test("does not answer to a browser that was led here by a foreign name", async () => {
    await using daemon = await startDaemon({ flags: TCP });
    const port = await portOf(daemon, "--metrics-address");
    expect((await get(port, "/metrics", { headers: { host: `evil.example:${port}` } })).status).toBe(403);
    for (const host of [`localhost:${port}`, `127.0.0.1:${port}`, "127.1.2.3", "[::1]:80"])
      expect((await get(port, "/metrics", { headers: { host } })).status, host).toBe(200);
  });

  // Its owner has it resolve to this machine's address once the page is loaded.
  test.each(["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "2130706433", ""])(
    "nor, where other machines can connect, by the name %j",
    async (name) => {
      await using daemon = await startDaemon({
        flags: ["--metrics-address", "0.0.0.0:0", "--pprof-address", "0.0.0.0:0", "--insecure-debug"],
      });
      for (const [flag, path] of [
        ["--metrics-address", "/metrics"],
        ["--pprof-address", "/debug/pprof/heap"],
      ] as const) {
        const port = await portOf(daemon, flag);
        const answer = await get(port, path, { headers: { host: `${name}:${port}` } });
        expect(answer).toMatchObject({ status: 403, body: expect.stringContaining(`"${name}:${port}"`) });
      }
    },
  );

  test.each([
    ["0.0.0.0:0", "other machines could connect"],
    [":0", "other machines could connect"],
    ["[::]:0", "other machines could connect"],
    ["10.1.2.3:80", "other machines could connect"],
    ["nonsense", "expected host:port"],
    ["fd://x", "for --listen only"],
  ])("%s is refused", async (address, message) => {
    for (const flag of ["--metrics-address", "--pprof-address"])
      await expect(startDaemon({ flags: [flag, address] })).rejects.toThrow(message);
  });

  test("everywhere when told so", async () => {
    await using daemon = await startDaemon({ flags: ["--metrics-address", "0.0.0.0:0", "--insecure-debug"] });
    const port = await portOf(daemon, "--metrics-address");
    for (const host of ["192.0.2.7:9100", "[2001:db8::1]:9100", `LOCALHOST:${port}`, hostname(), `${hostname()}:9100`])
      expect((await get(port, "/metrics", { headers: { host } })).status, host).toBe(200);
  });

  test("a port that is taken does not keep the daemon from its containers", async () => {
    await using daemon = await startDaemon({ flags: TCP });
    const port = await portOf(daemon, "--metrics-address");
    await using second = await startDaemon({ flags: ["--metrics-address", `127.0.0.1:${port}`] });
    await expect.poll(() => second.log).toMatch(/level=error .*flag=--metrics-address .*address already in use/);
  });
});
