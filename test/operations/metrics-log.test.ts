/** All metrics in the log, at intervals. */
import { expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon } from "../harness/daemon.js";
import { eventually, sleep } from "../harness/wait.js";

const lines = (log: string) => log.split("\n").filter((line) => line.includes('msg="containerd: metrics"'));

test("at each interval: one line with all numbers, and one for each timer", async () => {
  await using daemon = await startDaemon({ flags: ["--metrics-interval", "100ms"] });
  using container = await startContainer(daemon, { name: "one", args: ["sleep", "1000"] });
  void container;
  await eventually(() => /containers=1 .*tasks=\d+ /.test(daemon.log));
  for (const name of ["event-subscribers", "tasks", "epoll-fds", "fds", "memory-used"])
    await eventually(
      () => {
        const numbers = lines(daemon.log).findLast((line) => line.includes("containers=1"))!;
        return Number(new RegExp(` ${name}=(\\d+)`).exec(numbers)?.[1]) > 0;
      },
      { what: name },
    );
  for (const timer of [
    "container-create",
    "container-delete",
    "container-start",
    "container-stats",
    "exec-process",
    "exit-process",
  ])
    await eventually(() => daemon.log.includes(` metric=${timer}-time `), { what: timer });
  await eventually(() => /metric=container-start-time count=1 min=\d+\.?\d* .*99-percentile=\d/.test(daemon.log));
  const before = lines(daemon.log).length;
  await eventually(() => lines(daemon.log).length >= before + 3 * 7);
});

test("never with 0", async () => {
  await using daemon = await startDaemon({ flags: ["--metrics-interval=0"] });
  await sleep(300);
  expect(lines(daemon.log)).toEqual([]);
});
