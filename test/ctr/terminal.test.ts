import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { full } from "../harness/extent.js";
import { processes } from "../harness/processes.js";
import { eventually } from "../harness/wait.js";
import { ctr, fifoDirectories, startIsTold } from "./ctr.js";
import { Screen } from "./screen.js";

/** A shell with a terminal, attached. */
async function startShell(daemon: TestDaemon, screen: Screen): Promise<string> {
  const id = daemon.id("a");
  const bundle = daemon.bundle("a", { args: ["sh"], terminal: true, env: ["PS1=box> "] });
  // Behind exec, so that the pid is ctr's own.
  screen.line(
    `clear; (echo $BASHPID >pid; exec $(declare -f ctr | sed -n 's/ "$@"//p') containers start -a ${id} ${bundle}); echo "status $?"`,
  );
  await screen.shows("box>");
  await startIsTold(daemon, id);
  return id;
}

async function pidOf(daemon: TestDaemon): Promise<number> {
  const { readFileSync } = await import("node:fs");
  return Number(readFileSync(`${daemon.dir}/pid`, "utf8"));
}

test("a shell with job control, the terminal's size and its changes, and the exit status", async () => {
  await using daemon = await startDaemon();
  using screen = new Screen(daemon);
  const id = await startShell(daemon, screen);
  screen.line("stty size");
  await screen.shows(/^30 100$/m);
  screen.resize(80, 20);
  await eventually(async () => {
    screen.line("clear; stty size");
    await screen.shows(/^20 80$/m, 2000);
    return true;
  });
  screen.line("sleep 1000");
  const isSleeping = (state: string) =>
    processes().some(
      (process) =>
        process.command === "sleep 1000" &&
        process.cgroups.some((path) => path.includes(id)) &&
        process.state === state,
    );
  await eventually(() => isSleeping("S"));
  screen.keys("C-z");
  await screen.shows("Stopped");
  screen.line("clear; fg");
  await screen.shows(/^sleep 1000/m);
  await eventually(() => isSleeping("S"));
  screen.keys("C-c");
  screen.line("echo status was $?");
  await screen.shows("status was 130");
  screen.line("clear; exit 5");
  await screen.shows("status 5");
  await screen.expectRestored();
  expect(fifoDirectories(daemon)).toEqual([]);
});

test("vi and top", async () => {
  await using daemon = await startDaemon();
  using screen = new Screen(daemon);
  await startShell(daemon, screen);
  screen.line("clear; vi /tmp/file");
  await screen.shows("/tmp/file");
  screen.keys("i");
  screen.line("first line");
  screen.keys(..."second", "Escape");
  await screen.shows("first line\nsecond");
  // So that it is not taken for the beginning of a function key.
  await sleep(300);
  screen.line(":wq");
  await screen.shows(/box> *$/);
  screen.line("clear; cat /tmp/file");
  await screen.shows("first line\nsecond\nbox>");
  screen.line("clear; top");
  await screen.shows(/PID +PPID +USER/);
  await screen.shows(/\d+ +1 .*top/);
  screen.keys("q");
  screen.line("clear; echo still here");
  await screen.shows(/^still here$/m);
  screen.line("exit");
  await screen.shows("status 0");
  await screen.expectRestored();
});

test.each([
  ["SIGTERM", 143],
  ["SIGHUP", 129],
  ["SIGINT", 130],
  ["SIGQUIT", 131],
] as const)("the terminal is restored when ctr is ended by %s", async (signal, status) => {
  await using daemon = await startDaemon();
  using screen = new Screen(daemon);
  const id = await startShell(daemon, screen);
  process.kill(await pidOf(daemon), signal);
  await screen.shows(`status ${status}`);
  await screen.expectRestored();
  expect(fifoDirectories(daemon)).toEqual([]);
  await ctr(daemon, "containers", "kill", "-s", "KILL", id);
});

test("the terminal is restored when the container is killed", async () => {
  await using daemon = await startDaemon();
  using screen = new Screen(daemon);
  const id = await startShell(daemon, screen);
  await ctr(daemon, "containers", "kill", "-s", "KILL", id);
  await screen.shows("status 137");
  await screen.expectRestored();
});

test.skipIf(!full)("the terminal is restored when the daemon dies for good", async () => {
  await using daemon = await startDaemon();
  using screen = new Screen(daemon);
  await startShell(daemon, screen);
  await daemon.kill();
  // The session goes on while ctr waits for the daemon.
  screen.line("echo in the $((1 + 1))nd");
  await screen.shows("in the 2nd");
  await screen.shows("status 1");
  await screen.expectRestored();
});

test("the terminal is restored after an exception that nobody catches", async () => {
  await using daemon = await startDaemon();
  using screen = new Screen(daemon);
  // Thrown once the shell is there, however long that takes.
  const [throws, now] = [join(daemon.dir, "throws.mjs"), join(daemon.dir, "now")];
  writeFileSync(
    throws,
    `import { existsSync } from "node:fs";
    setInterval(() => { if (existsSync(${JSON.stringify(now)})) throw new Error("42"); }, 20);`,
  );
  screen.line(`export NODE_OPTIONS='--import ${throws}'`);
  await startShell(daemon, screen);
  writeFileSync(now, "");
  await screen.shows("[ctr] 42");
  await screen.shows("status 1");
  await screen.expectRestored();
});

test("a session outlives a restart of the daemon, resizing included", async () => {
  await using daemon = await startDaemon();
  using screen = new Screen(daemon);
  await startShell(daemon, screen);
  await daemon.restart({ kill: true });
  screen.resize(90, 25);
  await eventually(async () => {
    screen.line("clear; stty size");
    await screen.shows(/^25 90$/m, 2000);
    return true;
  });
  screen.line("exit 6");
  await screen.shows("status 6");
  await screen.expectRestored();
});

test("exec with a terminal", async () => {
  await using daemon = await startDaemon();
  using screen = new Screen(daemon);
  const id = daemon.id("a");
  await ctr(daemon, "containers", "start", id, daemon.bundle("a", { args: ["sleep", "1000"] }));
  screen.line(`clear; ctr containers exec --id ${id} --pid shell --tty --attach -e PS1='box> ' sh; echo "status $?"`);
  await screen.shows("box>");
  await sleep(200);
  screen.line("clear; stty size; tty; echo $TERM");
  await screen.shows(/30 100\n\/dev\/pts\/\d+\nxterm\n/);
  screen.line("exit 4");
  await screen.shows("status 4");
  await screen.expectRestored();
});

test("stats --watch draws in place and puts the cursor back", async () => {
  await using daemon = await startDaemon();
  using screen = new Screen(daemon);
  const id = daemon.id("a");
  const bundle = daemon.bundle("a", { args: ["sh", "-c", "while :; do :; done"], memoryLimit: 64 * 1024 * 1024 });
  await ctr(daemon, "containers", "start", id, bundle);
  screen.line(`clear; ctr containers stats --watch; echo "status $?"`);
  const shown = await screen.shows(/ running +\d+\.\d +[\d.]+ [KM]iB \/ 64.0 MiB +1 /);
  expect(shown.match(/STATUS/g)).toHaveLength(1);
  await eventually(() => screen.text !== shown, { what: "another drawing" });
  expect(screen.text.match(/STATUS/g)).toHaveLength(1);
  screen.keys("C-c");
  await screen.shows("status 0");
  await screen.expectRestored();
});
