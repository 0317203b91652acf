/** What the kernel adds when it looks for a process to kill: the daemon's own is not for containers. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { connect } from "../../src/client/index.js";
import { inCgroupV1 } from "../harness/cgroup-v2.js";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { findProgram, repository } from "../harness/paths.js";
import { processes } from "../harness/processes.js";
import { sharedRootfs } from "../harness/rootfs.js";

const otherShim = join(repository, "test/takeover/shim.mjs");

/** The daemon's, which no container is to get. Higher than the tests' own: not every machine lets root lower one. */
const SCORE = "500";
/** With the score of a daemon as a service manager would set it. */
const WRAPPER = ["sh", "-c", `echo ${SCORE} >/proc/self/oom_score_adj; exec "$@"`, "sh"];

const score = (pid: number) => readFileSync(`/proc/${pid}/oom_score_adj`, "utf8").trim();

function initPid({
  response,
}: {
  response: { container?: { processes: { systemPid: number }[] } | undefined };
}): number {
  return response.container!.processes[0]!.systemPid;
}

/** Shims and spawner, and what else of ours the daemon has started. */
const childrenOf = (daemon: TestDaemon, command: string) =>
  processes().filter((info) => info.command.startsWith(command) && info.parent === daemon.pid);

test("the daemon, the spawner and the shims keep theirs; containers and execs have 0", async () => {
  await using daemon = await startDaemon({ wrapper: WRAPPER });
  await using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
  using exec = await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
  expect(score(daemon.pid)).toBe(SCORE);
  const [spawner] = childrenOf(daemon, "containerd-shim --spawner");
  expect(score(spawner!.pid)).toBe(SCORE);
  const shims = processes().filter((info) => info.parent === spawner!.pid);
  expect(shims.map(({ pid }) => score(pid))).toEqual([SCORE, SCORE]);
  expect(score(initPid(container))).toBe("0");
  expect(score(exec.systemPid)).toBe("0");
});

test("what the specification asks for stays", async () => {
  await using daemon = await startDaemon({ wrapper: WRAPPER });
  await using container = await startContainer(daemon, {
    name: "c",
    args: ["sleep", "1000"],
    spec: (spec) => {
      spec.process.oomScoreAdj = 700;
    },
  });
  using exec = await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
  expect(score(initPid(container))).toBe("700");
  // As runc has it: what runs in a container has the container's.
  expect(score(exec.systemPid)).toBe("700");
});

test.runIf(findProgram("crun"))("a container of crun has 0", async () => {
  await using daemon = await startDaemon({ wrapper: [...inCgroupV1(), ...WRAPPER], flags: ["--runtime", "crun"] });
  await using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
  expect(score(initPid(container))).toBe("0");
});

test("a container under another shim has 0", async () => {
  await using daemon = await startDaemon({ wrapper: WRAPPER, flags: ["--shim", otherShim] });
  await using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
  expect(score(initPid(container))).toBe("0");
});

test("the client library's oomScoreAdj", async () => {
  await using daemon = await startDaemon({ wrapper: WRAPPER });
  await using client = connect(daemon.listen);
  const options = { rootfs: sharedRootfs(), args: ["cat", "/proc/self/oom_score_adj"] };
  const printed = async (more: { oomScoreAdj?: number }) =>
    (await client.v0.run({ ...options, ...more })).stdout.trim();
  expect(await printed({})).toBe("0");
  expect(await printed({ oomScoreAdj: 300 })).toBe("300");
  await expect(printed({ oomScoreAdj: 1001 })).rejects.toThrow(
    "oomScoreAdj must be a whole number from -1000 to 1000, not 1001",
  );
});
