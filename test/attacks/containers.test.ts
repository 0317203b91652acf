/** What a container gets hold of: none of the daemon's descriptors, and of the runtime nothing that it can change for others. */
import { readlinkSync, statSync } from "node:fs";
import { expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { openDescriptors, processes } from "../harness/processes.js";
import { whyNotCopied } from "../harness/self-copying.js";
import { eventually } from "../harness/wait.js";

/** The daemon's copy of the runtime, as others can open it. */
function runtimeCopy(daemon: TestDaemon): string {
  for (const [fd, target] of openDescriptors(daemon.pid))
    if (target.startsWith("/memfd:runtime")) return `/proc/${daemon.pid}/fd/${fd}`;
  throw new Error("the daemon has no copy of the runtime");
}

test("the runtime's copy can't be written to, and what is done to its mode and owner is undone", async ({ skip }) => {
  const reason = whyNotCopied("runc");
  if (reason !== undefined) skip(reason);
  await using daemon = await startDaemon();
  // While an exec enters the container, the runtime is one of its processes.
  const attack = `while :; do
    for exe in /proc/[0-9]*/exe; do
      case "$(readlink $exe 2>/dev/null)" in
        *memfd*)
          (echo x >>$exe) 2>/dev/null && echo written
          (: >$exe) 2>/dev/null && echo emptied
          chown 1:1 $exe 2>/dev/null && chmod 0 $exe 2>/dev/null && echo closed ;;
      esac
    done
  done`;
  const all = ["CAP_SYS_PTRACE", "CAP_CHOWN", "CAP_FOWNER", "CAP_DAC_OVERRIDE", "CAP_KILL"];
  await using container = await startContainer(daemon, {
    name: "attacker",
    args: ["sh", "-c", attack],
    stdio: true,
    spec: (spec) => {
      spec.process.capabilities = { bounding: all, effective: all, permitted: all, inheritable: all };
    },
  });
  let printed = "";
  container.stdio.stdout.on("data", (chunk) => {
    printed += chunk;
  });
  const before = statSync(runtimeCopy(daemon));
  for (let count = 0; !printed.includes("closed") && count < 200; count++) {
    using exec = await startExec(daemon, container, { pid: `exec-${count}`, args: ["true"] });
    expect(await exec.exit()).toBe(0);
  }
  await eventually(() => printed.includes("closed"), { what: "an attack that has changed the copy's mode" });
  await container.kill();
  expect((await container.output()).stdout.toString()).not.toMatch(/written|emptied/);
  expect(statSync(runtimeCopy(daemon)).mode & 0o777).toBe(0);

  await using next = await startContainer(daemon, { name: "next", args: ["sleep", "1000"] });
  const after = statSync(runtimeCopy(daemon));
  expect({ mode: after.mode, uid: after.uid, gid: after.gid, ino: after.ino, size: after.size }).toEqual({
    mode: before.mode,
    uid: before.uid,
    gid: before.gid,
    ino: before.ino,
    size: before.size,
  });
  await next.kill();
  await next.exit();
});

test("no descriptor of the daemon, its shims or of who has started the daemon leaks into a container", async () => {
  // As a shell or a service manager does that does not close what it has open.
  const leaking = ["sh", "-c", 'exec 7</etc/shadow 8</dev/null; exec "$@"', "sh"];
  await using daemon = await startDaemon({ wrapper: leaking });
  expect(openDescriptors(daemon.pid).get(7)).toBe("/etc/shadow");
  // 3 is the directory that ls reads.
  const list = ["sh", "-c", "ls /proc/self/fd; sleep 1000"];
  await using piped = await startContainer(daemon, { name: "piped", args: list, stdio: true });
  await piped.printed("0\n1\n2\n3\n");
  using exec = await startExec(daemon, piped, { pid: "exec", args: ["ls", "/proc/self/fd"], stdio: true });
  expect((await exec.output()).stdout).toBe("0\n1\n2\n3\n");
  await using terminal = await startContainer(daemon, {
    name: "terminal",
    args: ["sh", "-c", "ls -1 /proc/self/fd; sleep 1000"],
    terminal: true,
    stdio: true,
  });
  await terminal.printed("0\r\n1\r\n2\r\n3\r\n");
  await using silent = await startContainer(daemon, { name: "silent", args: ["sleep", "1000"] });
  const inits = (await daemon.api.state()).containers.map(({ processes: [init] }) => init!.systemPid);
  expect(inits).toHaveLength(3);
  for (const pid of inits) expect([...openDescriptors(pid).keys()]).toEqual([0, 1, 2]);
  const shims = processes().filter(({ directory }) => directory.startsWith(daemon.stateDir));
  expect(shims).toHaveLength(3);
  for (const { pid } of shims) expect([...openDescriptors(pid).values()]).not.toContain("/etc/shadow");
  // Nor does one see the daemon's own files through what it has.
  for (const pid of inits) expect(readlinkSync(`/proc/${pid}/cwd`)).toBe("/");
  for (const each of [piped, terminal, silent]) {
    await each.kill();
    await each.exit();
  }
});
