/** Processes with a terminal. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { activityOf, processes } from "../harness/processes.js";
import { eventually, sleep } from "../harness/wait.js";
import { Sandbox, type Shim, until } from "./stand-in-daemon.js";

let sandbox: Sandbox;
beforeEach(() => {
  sandbox = new Sandbox();
});
afterEach(() => sandbox.clean());

/** A client of a terminal: types, and remembers what it has seen. */
class Terminal {
  readonly stdin = sandbox.fifo("stdin");
  readonly stdout = sandbox.fifo("stdout");
  readonly #keyboard = sandbox.client("sh", "-c", 'exec cat > "$0"', this.stdin);
  readonly #screen = sandbox.reader(this.stdout);
  #seen = "";

  constructor() {
    this.#screen.child.stdout!.on("data", (chunk: Buffer) => {
      this.#seen += chunk.toString();
    });
  }
  type(text: string): void {
    this.#keyboard.stdin!.write(text);
  }
  leave(): void {
    this.#keyboard.stdin!.end();
  }
  async expect(text: string): Promise<void> {
    await until(`${JSON.stringify(text)} in ${JSON.stringify(this.#seen)}`, () => this.#seen.includes(text));
  }
  get everything(): Promise<string> {
    return this.#screen.text.then((text) => text.toString());
  }
}

const withTerminal = (config: { process: { terminal: boolean } }) => {
  config.process.terminal = true;
};

async function useTerminal(shim: Shim, terminal: Terminal): Promise<void> {
  shim.control("1 100 30");
  terminal.type("test -t 0 && test -t 1 && test -t 2 && echo it is a t''ty\n");
  await terminal.expect("it is a tty\r\n");
  terminal.type("stty size\n");
  await terminal.expect("30 100\r\n");
  shim.control("1 80 24");
  terminal.type("sleep 0.1; stty size\n");
  await terminal.expect("24 80\r\n");
  terminal.type("echo sle''eping; sleep 600\n");
  await terminal.expect("sleeping\r\n");
  await until("the sleep", () =>
    processes().some(({ parent, command }) => parent === shim.processPid && command === "sleep 600"),
  );
  terminal.type("\x03");
  terminal.type("echo int''errupted\n");
  await terminal.expect("interrupted\r\n");
}

test("an init with a terminal: size, ^C, exit", async () => {
  const id = sandbox.id();
  const terminal = new Terminal();
  const shim = sandbox.shim(id, sandbox.bundle(id, ["sh"], withTerminal), { terminal: true, ...terminal });
  await shim.start();
  await useTerminal(shim, terminal);
  terminal.type("exit 9\n");
  await shim.end();
  expect(shim.exitStatus).toBe("9");
  expect(await terminal.everything).toContain("exit 9");
  expect(existsSync(join(shim.directory, "console.sock"))).toBe(false);
});

test("an exec with a terminal", async () => {
  const id = sandbox.id();
  const bundle = sandbox.bundle(id, ["sleep", "600"]);
  const init = sandbox.shim(id, bundle);
  await init.start();
  const terminal = new Terminal();
  const shim = sandbox.shim(id, bundle, { exec: true, args: ["sh"], terminal: true, ...terminal });
  expect(await shim.channel!.receive()).toBe(`created ${shim.processPid}`);
  await useTerminal(shim, terminal);
  terminal.type("exit 3\n");
  await shim.end();
  expect(shim.exitStatus).toBe("3");
});

test("a terminal that everybody has closed can be opened again, in both directions", async () => {
  const id = sandbox.id();
  const terminal = new Terminal();
  // As an init does that leaves the console to a login later.
  const script = `echo first; tty=$(tty); exec </dev/null >/dev/null 2>&1; echo >/tmp/closed
    while [ ! -e /tmp/go ]; do sleep 0.02; done
    stty -echo <$tty; echo again >$tty; read line <$tty; echo "read $line" >$tty; exec sleep 600 >$tty`;
  const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", script], withTerminal), {
    terminal: true,
    ...terminal,
  });
  const pid = await shim.start();
  await terminal.expect("first\r\n");
  await until("the terminal closed", () => existsSync(join(sandbox.rootfs, "tmp/closed")));
  // Nothing is done meanwhile.
  await eventually(async () => {
    const { wakeups } = activityOf(shim.pid);
    await sleep(300);
    return activityOf(shim.pid).wakeups === wakeups;
  });
  writeFileSync(join(sandbox.rootfs, "tmp/go"), "");
  await terminal.expect("again\r\n");
  terminal.type("typed\n");
  await terminal.expect("read typed\r\n");
  process.kill(pid, "SIGKILL");
  await shim.end();
  expect(shim.exitStatus).toBe("137");
  expect(await terminal.everything).toMatch(/read typed\r\n$/);
});

test("closeStdin leaves the terminal as it is", async () => {
  const id = sandbox.id();
  const terminal = new Terminal();
  const shim = sandbox.shim(id, sandbox.bundle(id, ["sh"], withTerminal), { terminal: true, ...terminal });
  await shim.start();
  terminal.type("(sleep 0.5; echo still he''re) &\n");
  terminal.leave();
  shim.control("0 0 0");
  await terminal.expect("still here\r\n");
  expect(shim.exitStatus).toBeUndefined();
  process.kill(shim.processPid, "SIGKILL");
  await shim.end();
  expect(shim.exitStatus).toBe("137");
});

test("a state directory whose path is too long for a socket", async () => {
  const id = sandbox.id();
  const terminal = new Terminal();
  const directory = join(sandbox.path, "d".repeat(120), id, "init");
  const bundle = sandbox.bundle(id, ["sh", "-c", "tty"], withTerminal);
  const shim = sandbox.shimIn(directory, id, bundle, { terminal: true, ...terminal }, {});
  await shim.start();
  await shim.end();
  expect(shim.exitStatus).toBe("0");
  expect(await terminal.everything).toMatch(/^\/dev\/(pts|console)/);
});

test("a terminal that nobody looks at does not stop its process", async () => {
  const id = sandbox.id();
  const bundle = sandbox.bundle(id, ["sh", "-c", "seq 30000; exit 5"], withTerminal);
  const shim = sandbox.shim(id, bundle, { terminal: true });
  await shim.start();
  await shim.end();
  expect(shim.exitStatus).toBe("5");
});

test("much output and a slow start arrive whole", async () => {
  const id = sandbox.id();
  const terminal = new Terminal();
  const bundle = sandbox.bundle(id, ["sh", "-c", "stty -opost; seq 30000"], withTerminal);
  const shim = sandbox.shim(id, bundle, { terminal: true, ...terminal });
  await shim.start();
  await shim.end();
  expect(await terminal.everything).toBe(Array.from({ length: 30000 }, (_, index) => `${index + 1}\n`).join(""));
});
