/** systemd's side: sockets that it has opened, and what it is told. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Api } from "../../harness/api.js";
import { startContainer } from "../../harness/container.js";
import { daemonEnvironment, startDaemon } from "../../harness/daemon.js";
import { daemonProgram } from "../../harness/paths.js";
import { directoryPrefix } from "../../harness/run-name.js";
import { eventually } from "../../harness/wait.js";
import { DatagramReceiver, listeningTcp, listeningUnix } from "./sockets.js";

let dir: string;
let daemon: ChildProcess | undefined;
beforeEach(() => {
  dir = mkdtempSync(directoryPrefix());
});
afterEach(async () => {
  if (daemon && daemon.exitCode === null && daemon.signalCode === null) {
    daemon.kill("SIGKILL");
    await once(daemon, "exit");
  }
  daemon = undefined;
  rmSync(dir, { recursive: true, force: true });
});

const log = () => readFileSync(join(dir, "log"), "utf8");

/** Starts a daemon with these sockets from descriptor 3 on. */
function activate(sockets: number[], flags: string[], env: Record<string, string> = {}): void {
  const output = openSync(join(dir, "log"), "a");
  const command = [process.execPath, daemonProgram, "--state-dir", join(dir, "state"), ...flags];
  // The pid is known to the child only: it is that of the shell that becomes the daemon.
  const script = `export LISTEN_PID=\${LISTEN_PID-$$} LISTEN_FDS=${sockets.length}; exec "$@"`;
  daemon = spawn("sh", ["-c", script, "sh", ...command], {
    env: { ...daemonEnvironment(), ...env },
    stdio: ["ignore", output, output, ...sockets],
  });
  closeSync(output);
  for (const socket of sockets) closeSync(socket);
}

async function version(address: string): Promise<number> {
  const api = new Api(address);
  try {
    return (await api.getServerVersion()).minor;
  } finally {
    api.close();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}

describe("socket activation", () => {
  test("fd:// takes all sockets; they stay when the daemon ends", async () => {
    const paths = [join(dir, "a"), join(dir, "b")];
    activate(paths.map(listeningUnix), ["--listen", "fd://"]);
    for (const path of paths) expect(await version(`unix:${path}`)).toBe(2);
    daemon!.kill("SIGTERM");
    expect(await once(daemon!, "exit")).toEqual([0, null]);
    for (const path of paths) expect(existsSync(path)).toBe(true);
  });

  test.each([
    ["a name", "fd://second"],
    ["a number", "fd://4"],
  ])("%s takes that one", async (_, address) => {
    const paths = [join(dir, "a"), join(dir, "b")];
    activate(paths.map(listeningUnix), ["--listen", address], { LISTEN_FDNAMES: "first:second" });
    expect(await version(`unix:${paths[1]}`)).toBe(2);
    // Nobody listens on the first any more: the descriptor is open but never accepted from.
    const api = new Api(`unix:${paths[0]}`);
    await expect(api.getServerVersion({ timeout: 300 })).rejects.toThrow();
    api.close();
  });

  test("together with another address", async () => {
    activate([listeningUnix(join(dir, "a"))], ["--listen", "fd://", "--listen", `unix://${dir}/c`]);
    expect(await version(`unix:${dir}/a`)).toBe(2);
    // This one is made after the other, which answers already.
    await eventually(() => existsSync(join(dir, "c")));
    expect(await version(`unix:${dir}/c`)).toBe(2);
  });

  test("a TCP socket is no way around TLS", async () => {
    activate([listeningTcp(await freePort())], ["--listen", "fd://"]);
    expect(await once(daemon!, "exit")).toEqual([1, null]);
    expect(log()).toContain("--insecure-tcp");
    const port = await freePort();
    activate([listeningTcp(port)], ["--listen", "fd://", "--insecure-tcp"]);
    expect(await version(`127.0.0.1:${port}`)).toBe(2);
  });

  test.each<[string, string[], Record<string, string>, string]>([
    ["sockets for another process", ["--listen", "fd://"], { LISTEN_PID: "1" }, "has passed no sockets"],
    ["a name that there is not", ["--listen", "fd://nope"], { LISTEN_FDNAMES: "api" }, "no such socket among api"],
  ])("%s: refused", async (_, flags, env, why) => {
    activate([listeningUnix(join(dir, "a"))], flags, env);
    expect(await once(daemon!, "exit")).toEqual([1, null]);
    expect(log()).toContain(why);
  });

  test("what is no listening socket is refused", async () => {
    activate([openSync("/dev/null", "r")], ["--listen", "fd://"]);
    expect(await once(daemon!, "exit")).toEqual([1, null]);
    expect(log()).toContain("descriptor 3 is no listening socket");
  });
});

describe("notification", () => {
  test.each(["a path", "an abstract name"])("READY and STOPPING, to %s", async (kind) => {
    const name = kind === "a path" ? join(dir, "notify") : `@${dir}/notify`;
    using receiver = new DatagramReceiver(name);
    await using notifying = await startDaemon({ env: { NOTIFY_SOCKET: name } });
    expect(await receiver.next()).toBe("READY=1");
    expect(receiver.receive()).toBeUndefined();
    expect((await notifying.stop()).code).toBe(0);
    expect(await receiver.next()).toBe("STOPPING=1");
  });

  test("a service manager that is gone does not matter", async () => {
    await using notifying = await startDaemon({ env: { NOTIFY_SOCKET: join(dir, "nobody") } });
    expect((await notifying.stop()).code).toBe(0);
    await expect.poll(() => notifying.log).toContain("notify the service manager");
  });

  test("containers are told nothing of it", async () => {
    using receiver = new DatagramReceiver(join(dir, "notify"));
    await using notifying = await startDaemon({
      env: { NOTIFY_SOCKET: join(dir, "notify"), LISTEN_FDS: "1", LISTEN_PID: "1" },
    });
    expect(await receiver.next()).toBe("READY=1");
    using container = await startContainer(notifying, { name: "env", args: ["env"], stdio: true });
    const { stdout } = await container.output();
    expect(stdout.toString()).not.toMatch(/NOTIFY_SOCKET|LISTEN_/);
    await container.exit();
  });
});
