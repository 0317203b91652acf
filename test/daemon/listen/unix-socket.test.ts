/** Who may connect to the daemon's unix sockets. */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Api } from "../../harness/api.js";
import { daemonEnvironment, startDaemon } from "../../harness/daemon.js";
import { daemonProgram, findProgram } from "../../harness/paths.js";
import { directoryPrefix } from "../../harness/run-name.js";
import { PATIENCE } from "../../harness/wait.js";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(directoryPrefix());
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Runs a daemon that is expected not to start. */
function refused(...args: string[]): string {
  const { status, stderr } = spawnSync(process.execPath, [daemonProgram, "--state-dir", join(dir, "state"), ...args], {
    encoding: "utf8",
    timeout: PATIENCE,
    env: daemonEnvironment(),
  });
  expect(status, stderr).toBe(1);
  return stderr.trim();
}

const mode = (path: string) => (statSync(path).mode & 0o7777).toString(8);

/** Whether a user who is in one group, and no other, can connect. */
function canConnect(path: string, gid: number): boolean {
  const script = `require("net").connect(${JSON.stringify(path)}).on("connect", () => process.exit(0)).on("error", () => process.exit(1))`;
  const { status } = spawnSync(
    "setpriv",
    ["--reuid=65534", `--regid=${gid}`, "--clear-groups", process.execPath, "-e", script],
    {
      timeout: PATIENCE,
      stdio: "ignore",
    },
  );
  return status === 0;
}

test("only the owner and its group, whatever the umask", async () => {
  chmodSync(dir, 0o755);
  const path = join(dir, "s");
  await using _daemon = await startDaemon({
    listen: `unix://${path}`,
    wrapper: ["sh", "-c", 'umask 0; exec "$@"', "sh"],
  });
  expect(mode(path)).toBe("660");
  expect(statSync(path)).toMatchObject({ uid: process.getuid!(), gid: process.getgid!() });
  if (findProgram("setpriv")) {
    expect(canConnect(path, 65534)).toBe(false);
    expect(canConnect(path, process.getgid!())).toBe(true);
  }
});

describe("--group", () => {
  test.each([
    ["a name", "daemon"],
    ["an id", "1"],
  ])("%s", async (_, group) => {
    const gid = Number(execFileSync("getent", ["group", group], { encoding: "utf8" }).split(":")[2]);
    chmodSync(dir, 0o755);
    const path = join(dir, "s");
    await using _daemon = await startDaemon({ listen: `unix://${path}`, flags: ["--group", group] });
    expect(mode(path)).toBe("660");
    expect(statSync(path).gid).toBe(gid);
    if (findProgram("setpriv")) {
      expect(canConnect(path, gid)).toBe(true);
      expect(canConnect(path, 65534)).toBe(false);
    }
  });

  test("an id that has no name", async () => {
    await using daemon = await startDaemon({ flags: ["--group", "54321"] });
    expect(statSync(join(daemon.dir, "s")).gid).toBe(54321);
  });

  test.each(["no-such-group", "-1", "4294967295", "99999999999"])("%s is refused", (group) => {
    expect(refused("--listen", `unix://${dir}/s`, `--group=${group}`)).toContain(
      `--group ${group}: there is no such group`,
    );
    expect(existsSync(join(dir, "s"))).toBe(false);
  });
});

describe("the directory", () => {
  test("is made, and not for everybody to write to", async () => {
    const path = join(dir, "a/b/s");
    await using _daemon = await startDaemon({
      listen: `unix://${path}`,
      wrapper: ["sh", "-c", 'umask 0; exec "$@"', "sh"],
    });
    expect(mode(join(dir, "a"))).toBe("711");
    expect(mode(join(dir, "a/b"))).toBe("711");
  });

  test("writable by everybody: refused", () => {
    mkdirSync(join(dir, "open"));
    chmodSync(join(dir, "open"), 0o777);
    expect(refused("--listen", `unix://${dir}/open/s`)).toContain(`everybody may write to ${dir}/open`);
    expect(existsSync(join(dir, "open/s"))).toBe(false);
  });

  test("writable by everybody with the sticky bit, as /tmp: fine", async () => {
    mkdirSync(join(dir, "sticky"));
    chmodSync(join(dir, "sticky"), 0o1777);
    const path = join(dir, "sticky/s");
    await using _daemon = await startDaemon({ listen: `unix://${path}` });
    expect(mode(path)).toBe("660");
  });
});

describe("what is there already", () => {
  test("a file that is no socket stays", () => {
    writeFileSync(join(dir, "s"), "data");
    expect(refused("--listen", `unix://${dir}/s`)).toContain("something else than a socket");
    expect(statSync(join(dir, "s")).size).toBe(4);
  });

  test("a socket that somebody answers on stays", async () => {
    const path = join(dir, "s");
    await using daemon = await startDaemon({ listen: `unix://${path}` });
    // A state directory of its own: it is not that which is in use.
    expect(refused("--listen", `unix://${path}`)).toContain("another daemon answers there");
    expect((await daemon.api.getServerVersion()).minor).toBe(2);
  });

  test("a socket that nobody listens on is replaced", async () => {
    const path = join(dir, "s");
    const script = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
    spawnSync(process.execPath, ["-e", script]);
    expect(statSync(path).isSocket()).toBe(true);
    chownSync(path, 1, 1);
    await using daemon = await startDaemon({ listen: `unix://${path}` });
    expect((await daemon.api.getServerVersion()).minor).toBe(2);
    expect(statSync(path).uid).toBe(process.getuid!());
  });
});

test.each([
  ["unix://", "no address"],
  ["unix://@name", "abstract"],
  [`unix:///tmp/${"x".repeat(110)}`, "longer than 107 bytes"],
  ["tcp://127.0.0.1", "expected tcp://host:port"],
  ["tcp://127.0.0.1:99999", "expected tcp://host:port"],
  ["udp://127.0.0.1:1", '"udp" is not supported'],
  ["/run/x.sock", "bad listen address format /run/x.sock, expected proto://address"],
])("%s is refused", (address, why) => {
  expect(refused("--listen", address)).toContain(why);
});

test("several addresses; all sockets are gone after the end", async () => {
  const paths = [join(dir, "a"), join(dir, "b")];
  await using daemon = await startDaemon({ flags: paths.flatMap((path) => ["--listen", `unix://${path}`]) });
  for (const path of paths) {
    const api = new Api(`unix:${path}`);
    expect((await api.getServerVersion()).minor).toBe(2);
    api.close();
  }
  expect((await daemon.stop()).code).toBe(0);
  for (const path of [...paths, join(daemon.dir, "s")]) expect(existsSync(path), path).toBe(false);
});

test("when one of several addresses can't be had, none is left behind", async () => {
  const taken = createServer().listen(join(dir, "taken"));
  expect(refused("--listen", `unix://${dir}/free`, "--listen", `unix://${dir}/taken`)).toContain("already in use");
  expect(existsSync(join(dir, "free"))).toBe(false);
  taken.close();
});

test("with --debug the log names who has connected", async () => {
  await using daemon = await startDaemon({ flags: ["--debug"] });
  await daemon.api.getServerVersion();
  await expect
    .poll(() => daemon.log)
    .toMatch(
      new RegExp(`msg="containerd: connection" pid=${process.pid} uid=${process.getuid!()} gid=${process.getgid!()}`),
    );
});
