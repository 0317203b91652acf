/** Terminals of an init and of execs, and UpdateProcess, on real runc: the pty comes through the console socket. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { status } from "../harness/api.js";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { processes } from "../harness/processes.js";
import { collect, openReader } from "../harness/stdio.js";
import { eventually, sleep } from "../harness/wait.js";

let daemon: TestDaemon;
/** One that the execs share. */
let container: TestContainer;
beforeAll(async () => {
  daemon = await startDaemon();
  container = await startContainer(daemon, { name: "shared", args: ["sleep", "1000"] });
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

/** A process with a terminal, an init or an exec: what both have in common. */
interface Terminal extends Disposable {
  readonly id: string;
  readonly pid: string;
  readonly systemPid: number;
  type(text: string): void;
  printed(text: string): Promise<void>;
  output(): Promise<string>;
  exit(): Promise<number>;
}

async function initTerminal(name: string, args: string[]): Promise<Terminal> {
  const init = await startContainer(daemon, { name, args, terminal: true, stdio: true });
  return {
    id: init.id,
    pid: "init",
    systemPid: init.response.container!.processes[0]!.systemPid,
    type: (text) => void init.stdio.stdin.write(text),
    printed: (text) => init.printed(text),
    output: async () => {
      // stderr is not used: nobody ever opens its FIFO.
      init.stdio.stderr.destroy();
      return (await init.output()).stdout.toString();
    },
    exit: () => init.exit(),
    [Symbol.dispose]: () => init[Symbol.dispose](),
  };
}

async function execTerminal(pid: string, args: string[]): Promise<Terminal> {
  const request = { terminal: true };
  const exec = await startExec(daemon, container, { pid, args, stdio: true, request });
  return {
    id: container.id,
    pid,
    systemPid: exec.systemPid,
    type: (text) => void exec.stdio.stdin.write(text),
    printed: (text) => exec.printed(text),
    output: async () => {
      exec.stdio.stderr.destroy();
      return (await exec.output()).stdout;
    },
    exit: () => exec.exit(),
    [Symbol.dispose]: () => exec[Symbol.dispose](),
  };
}

const kinds: [string, (name: string, args: string[]) => Promise<Terminal>][] = [
  ["init", initTerminal],
  ["exec", execTerminal],
];

const resize = ({ id, pid }: Terminal, width: number, height: number) =>
  daemon.api.updateProcess({ id, pid, width, height });

for (const [kind, open] of kinds) {
  test(`${kind}: all three descriptors are the terminal, which is the process's controlling one`, async () => {
    using terminal = await open("tty", ["sh", "-c", "tty <&0; tty <&1; tty <&2; echo direct >/dev/tty; exit 3"]);
    expect(await terminal.output()).toMatch(/^(\/dev\/(pts\/\d+|console)\r\n){3}direct\r\n$/);
    expect(await terminal.exit()).toBe(3);
  });

  test(`${kind}: what is typed arrives and is echoed`, async () => {
    using terminal = await open("typed", ["sh", "-c", 'read line; echo "got $line"']);
    terminal.type("some words\n");
    expect(await terminal.output()).toBe("some words\r\ngot some words\r\n");
    expect(await terminal.exit()).toBe(0);
  });

  test(`${kind}: resize sets the size and sends SIGWINCH`, async () => {
    using terminal = await open("resize", [
      "sh",
      "-c",
      "trap 'echo size $(stty size)' WINCH; echo ready; while :; do sleep 0.01; done",
    ]);
    await terminal.printed("ready");
    await resize(terminal, 100, 40);
    await terminal.printed("size 40 100\r\n");
    await resize(terminal, 999, 2);
    await terminal.printed("size 2 999\r\n");
    await daemon.api.signal({ id: terminal.id, pid: terminal.pid, signal: 9 });
    expect(await terminal.exit()).toBe(137);
  });

  test(`${kind}: a resize right after the answer counts`, async () => {
    using terminal = await open("early", ["sh", "-c", "sleep 0.3; stty size"]);
    await resize(terminal, 81, 33);
    expect(await terminal.output()).toBe("33 81\r\n");
    await terminal.exit();
  });

  test(`${kind}: Ctrl-C interrupts, Ctrl-D ends the input`, async () => {
    using terminal = await open("control", [
      "sh",
      "-c",
      // A shell that gets the signal right before it starts a command runs its trap only after that one.
      "trap 'echo interrupted; over=1' INT; echo ready; while [ -z $over ]; do sleep 0.1; done; cat; echo end",
    ]);
    await terminal.printed("ready");
    terminal.type("\x03");
    await terminal.printed("interrupted");
    terminal.type("line\n");
    await terminal.printed("line\r\nline\r\n");
    terminal.type("\x04");
    expect(await terminal.output()).toMatch(/end\r\n$/);
    expect(await terminal.exit()).toBe(0);
  });

  test(`${kind}: closeStdin ends the process's input once the client has gone`, async () => {
    using terminal = await open("closed", ["sh", "-c", "cat; echo end"]);
    terminal.type("last\n");
    await terminal.printed("last\r\nlast\r\n");
    await daemon.api.updateProcess({ id: terminal.id, pid: terminal.pid, closeStdin: true });
    terminal.type("\x04");
    expect(await terminal.output()).toMatch(/end\r\n$/);
    expect(await terminal.exit()).toBe(0);
  });

  test(`${kind}: the end of the process hangs up for what it left on the terminal`, async () => {
    using terminal = await open("hangup", [
      "sh",
      "-c",
      "(trap 'exit 0' HUP; echo waiting; while :; do sleep 0.01; done) & sleep 0.3; exit 6",
    ]);
    await terminal.printed("waiting");
    expect(await terminal.exit()).toBe(6);
    await eventually(
      () =>
        !processes().some(
          ({ cgroups, command }) =>
            cgroups.some((path) => path.endsWith(`/${terminal.id}`)) && command.includes("waiting"),
        ),
    );
  });

  test(`${kind}: a shell with job control`, async () => {
    using terminal = await open("jobs", ["sh", "-i"]);
    await terminal.printed("# ");
    terminal.type("sleep 1000\n");
    await eventually(() =>
      processes().some(({ command, parent }) => command === "sleep 1000" && parent === terminal.systemPid),
    );
    terminal.type("\x1a");
    await terminal.printed("Stopped");
    terminal.type("jobs\n");
    terminal.type("bg\n");
    terminal.type("fg\n");
    await eventually(
      () => {
        // One that comes before the job is in the foreground reaches nobody.
        terminal.type("\x03");
        return !processes().some(({ command, parent }) => command === "sleep 1000" && parent === terminal.systemPid);
      },
      { interval: 200 },
    );
    terminal.type("echo status $?; exit 5\n");
    expect(await terminal.output()).toContain("status 130");
    expect(await terminal.exit()).toBe(5);
  });

  test(`${kind}: vi draws on it, in its size`, async () => {
    using terminal = await open("vi", ["sh", "-c", "read line; vi /tmp/letter; cat /tmp/letter"]);
    await resize(terminal, 60, 12);
    terminal.type("go\n");
    // vi marks the lines behind the end of the file: 10 of 12, less the first and the status line.
    await terminal.printed("~");
    terminal.type("iDear all,");
    await terminal.printed("Dear all,");
    terminal.type("\x1b");
    // An escape that is not followed by more at once is a key of its own.
    await sleep(200);
    terminal.type(":wq\n");
    const output = await terminal.output();
    expect(output.split("~").length - 1).toBeGreaterThanOrEqual(10);
    expect(output).toMatch(/Dear all,\r\n$/);
    expect(await terminal.exit()).toBe(0);
  });

  test(`${kind}: top draws on it and obeys a key`, async () => {
    using terminal = await open("top", ["top", "-d", "1"]);
    await terminal.printed("PID");
    terminal.type("q");
    await terminal.output();
    expect(await terminal.exit()).toBe(0);
  });

  test(`${kind}: 1 MB through the terminal arrives whole`, async () => {
    using terminal = await open("flood", [
      "sh",
      "-c",
      "stty -opost; dd if=/dev/zero bs=1024 count=1024 2>/dev/null | tr '\\0' x",
    ]);
    expect((await terminal.output()).length).toBe(2 ** 20);
    await terminal.exit();
  });

  test(`${kind}: State says that it has a terminal`, async () => {
    using terminal = await open("shown", ["sleep", "1000"]);
    const { containers } = await daemon.api.state({ id: terminal.id });
    expect(containers[0]!.processes.find(({ pid }) => pid === terminal.pid)?.terminal).toBe(true);
    await daemon.api.signal({ id: terminal.id, pid: terminal.pid, signal: 9 });
    await terminal.exit();
    // The console socket is gone.
    const directory = join(daemon.stateDir, terminal.id);
    if (existsSync(directory)) expect(readdirSync(directory)).not.toContain("console.sock");
  });
}

test("a terminal without any FIFO: output goes nowhere, the process runs", async () => {
  using silent = await startContainer(daemon, {
    name: "silent",
    args: ["sh", "-c", "dd if=/dev/zero bs=64k count=16 2>/dev/null; stty size; exit 2"],
    terminal: true,
  });
  expect(await silent.exit()).toBe(2);
});

test("a reader may leave and another one come; the terminal stays", async () => {
  using terminal = await startContainer(daemon, { name: "leave", args: ["sh", "-i"], terminal: true, stdio: true });
  await terminal.printed("# ");
  terminal.stdio.stdout.destroy();
  await sleep(100);
  const second = collect(openReader(terminal.stdio.paths.stdout));
  terminal.stdio.stdin.write("echo back ag'ain'; exit 4\n");
  expect(await terminal.exit()).toBe(4);
  expect((await second.whole).toString()).toContain("back again\r\n");
});

test("resize and closeStdin of a process without a terminal do no harm", async () => {
  using plain = await startContainer(daemon, { name: "plain", args: ["cat"], stdio: true });
  await daemon.api.updateProcess({ id: plain.id, pid: "init", width: 80, height: 24 });
  plain.stdio.stdin.write("x\n");
  await plain.printed("x\n");
  await daemon.api.updateProcess({ id: plain.id, pid: "init", closeStdin: true });
  await daemon.api.updateProcess({ id: plain.id, pid: "init", closeStdin: true }).catch(() => {});
  plain.stdio.stdin.destroy();
  expect(await plain.exit()).toBe(0);
});

test("UpdateProcess: an empty pid is the init", async () => {
  using plain = await startContainer(daemon, { name: "empty", args: ["cat"], stdio: true });
  plain.stdio.stdin.destroy();
  await daemon.api.updateProcess({ id: plain.id, closeStdin: true });
  expect(await plain.exit()).toBe(0);
});

test("errors of UpdateProcess: unknown container, unknown process", async () => {
  await expect(daemon.api.updateProcess({ id: "nobody", pid: "init", closeStdin: true })).rejects.toMatchObject({
    code: status.NOT_FOUND,
    details: "containerd: container not found",
  });
  await expect(daemon.api.updateProcess({ id: container.id, pid: "nobody", width: 1 })).rejects.toMatchObject({
    code: status.NOT_FOUND,
    details: "containerd: process not found for container",
  });
});
