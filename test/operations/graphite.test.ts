/** Graphite: every byte that it gets is of its plaintext protocol, and nothing it does can hold up the daemon. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { compare, usualLimit } from "../harness/compare.js";
import { startContainer } from "../harness/container.js";
import { startDaemon } from "../harness/daemon.js";
import { findProgram } from "../harness/paths.js";
import { openDescriptors } from "../harness/processes.js";
import { eventually, sleep } from "../harness/wait.js";

interface Line {
  path: string;
  value: number;
  time: number;
}

/** As carbon reads it: three words, a path of dotted names, a number, a time in seconds; everything else is refused. */
function parseLine(line: string): Line {
  const match = /^([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+) (-?\d+(?:\.\d+)?) (\d{10})$/.exec(line);
  if (!match) throw new Error(`not of the plaintext protocol: ${JSON.stringify(line)}`);
  return { path: match[1]!, value: Number(match[2]), time: Number(match[3]) };
}

/** A Graphite that keeps what it gets, by connections. */
class Graphite {
  readonly samples: Line[][] = [];
  readonly errors: unknown[] = [];
  readonly sockets = new Set<Socket>();
  readonly server: Server;
  connections = 0;

  constructor(reads = true) {
    this.server = createServer({ pauseOnConnect: !reads, allowHalfOpen: !reads }, (socket) => {
      this.connections++;
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
      socket.on("error", () => {});
      if (!reads) return;
      let text = "";
      socket.setEncoding("utf8").on("data", (chunk) => {
        text += chunk;
      });
      socket.on("end", () => {
        try {
          if (!text.endsWith("\n")) throw new Error(`cut off: ${JSON.stringify(text.slice(-100))}`);
          this.samples.push(text.slice(0, -1).split("\n").map(parseLine));
        } catch (error) {
          this.errors.push(error);
        }
      });
    });
  }

  async listen(port = 0): Promise<number> {
    this.server.listen(port, "127.0.0.1");
    await once(this.server, "listening");
    return (this.server.address() as { port: number }).port;
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  last(path: string): number | undefined {
    return this.samples.at(-1)?.find((line) => line.path === path)?.value;
  }
}

/** A port of 127.0.0.1 that nobody listens on just now. */
async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

let servers: Graphite[] = [];
function graphite(reads = true): Graphite {
  const server = new Graphite(reads);
  servers.push(server);
  return server;
}
afterEach(() => {
  for (const server of servers) server.close();
  servers = [];
});

test("samples are complete, strictly of the protocol, in time, and have the original's names and nanoseconds", async () => {
  const server = graphite();
  const port = await server.listen();
  await using daemon = await startDaemon({
    flags: ["--graphite-address", `127.0.0.1:${port}`, "--metrics-interval", "200ms"],
  });
  const began = performance.now();
  using container = await startContainer(daemon, { name: "one", args: ["sleep", "1000"] });
  void container;
  const took = performance.now() - began;
  await eventually(() => server.last("metrics.containers.count") === 1);
  const sample = server.samples.at(-1)!;
  const paths = sample.map(({ path }) => path);
  expect(new Set(paths).size).toBe(paths.length);
  expect(paths).toEqual(
    expect.arrayContaining([
      "metrics.event-subscribers.count",
      "metrics.tasks.count",
      "metrics.epoll-fds.count",
      "metrics.fds.value",
      "metrics.memory-used.value",
      ...[
        "container-create",
        "container-delete",
        "container-start",
        "container-stats",
        "exec-process",
        "exit-process",
      ].flatMap((timer) =>
        [
          "count",
          "min",
          "max",
          "mean",
          "std-dev",
          "50-percentile",
          "75-percentile",
          "95-percentile",
          "99-percentile",
          "999-percentile",
        ].map((field) => `metrics.${timer}-time.${field}`),
      ),
    ]),
  );
  expect(Math.abs(sample[0]!.time - Date.now() / 1000)).toBeLessThan(30);
  expect(server.last("metrics.container-start-time.count")).toBe(1);
  const start = server.last("metrics.container-start-time.mean")!;
  expect(start).toBeGreaterThan(1e6);
  expect(start).toBeLessThan(took * 1e6);
  const seen = server.samples.length;
  await eventually(() => server.samples.length >= seen + 3);
  expect(server.errors).toEqual([]);
});

test("a server that comes later, or comes back, is found; its absence is told once", async () => {
  const first = graphite();
  const port = await first.listen();
  await using daemon = await startDaemon({
    flags: ["--graphite-address", `localhost:${port}`, "--metrics-interval", "100ms"],
  });
  await eventually(() => first.samples.length > 1);
  first.close();
  await eventually(() => daemon.log.includes("graphite can't be reached"));
  await sleep(500);
  const again = graphite();
  await again.listen(port);
  await eventually(() => again.samples.length > 1);
  await eventually(() => daemon.log.includes("graphite is reached again"));
  expect(daemon.log.split("graphite can't be reached").length).toBe(2);
  expect(again.errors).toEqual([]);
});

test("a server that never reads costs one connection at a time, and no call waits for it", async () => {
  const server = graphite(false);
  const port = await server.listen();
  await using daemon = await startDaemon({
    flags: ["--graphite-address", `127.0.0.1:${port}`, "--metrics-interval", "50ms"],
  });
  await eventually(() => server.connections > 20);
  const toServer = () =>
    [...openDescriptors(daemon.pid).values()].filter((target) => target.startsWith("socket:")).length;
  const before = toServer();
  await using without = await startDaemon();
  const [ours, reference] = await compare(
    () => daemon.api.getServerVersion(),
    () => without.api.getServerVersion(),
    50,
  );
  expect(ours).toBeLessThan(usualLimit(reference));
  expect(toServer()).toBeLessThanOrEqual(before + 1);
  expect((await daemon.stop()).code).toBe(0);
});

test.skipIf(!findProgram("carbon-cache"))("a real carbon stores every series", async () => {
  await using daemon = await startDaemon();
  const dir = join(daemon.dir, "carbon");
  for (const name of ["conf", "log", "storage/whisper"]) mkdirSync(join(dir, name), { recursive: true });
  const ports = await Promise.all([0, 1, 2].map(freePort));
  writeFileSync(
    join(dir, "conf/carbon.conf"),
    `[cache]
STORAGE_DIR = ${dir}/storage/
LOCAL_DATA_DIR = ${dir}/storage/whisper/
CONF_DIR = ${dir}/conf/
LOG_DIR = ${dir}/log/
PID_DIR = ${dir}/
USER =
MAX_CREATES_PER_MINUTE = inf
ENABLE_TAGS = False
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = ${ports[0]}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = ${ports[1]}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = ${ports[2]}
`,
  );
  writeFileSync(join(dir, "conf/storage-schemas.conf"), "[all]\npattern = .*\nretentions = 1s:1h\n");
  const options = [`--config=${dir}/conf/carbon.conf`, `--logdir=${dir}/log/`, `--pidfile=${dir}/pid`, "--nodaemon"];
  const carbon = spawn("carbon-cache", [...options, "start"], { stdio: "ignore" });
  try {
    await using sender = await startDaemon({
      flags: ["--graphite-address", `127.0.0.1:${ports[0]}`, "--metrics-interval", "1s"],
    });
    const series = join(dir, "storage/whisper/metrics");
    const fetched = (path: string) =>
      spawnSync("whisper-fetch", [`--from=${Math.floor(Date.now() / 1000) - 30}`, "--drop=nulls", join(series, path)], {
        encoding: "utf8",
      }).stdout;
    await sender.api.state();
    await eventually(() => / 1\.0+$|\t1\.0+$/m.test(fetched("tasks/count.wsp")), { interval: 200 });
    expect(fetched("memory-used/value.wsp")).toMatch(/\t[1-9]\d{7,}\.0/);
    await eventually(
      () =>
        readdirSync(series, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".wsp")).length ===
        70,
    );
  } finally {
    carbon.kill("SIGKILL");
  }
});

test.each(["nonsense", "host", "host:0", "host:99999", ":2003"])("address %j is refused", async (address) => {
  await expect(startDaemon({ flags: ["--graphite-address", address] })).rejects.toThrow("expected host:port");
});
