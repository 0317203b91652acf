/** A daemon with nothing to do: it sleeps, whatever it has done before. */
import { expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon } from "../harness/daemon.js";
import { activityOf } from "../harness/processes.js";
import { eventually, sleep } from "../harness/wait.js";

/** In ms: longer than a period of V8's slowest timer, which is one of 8 s. */
const LONG = 9_000;

test("nothing wakes a daemon up whose containers do nothing", async () => {
  await using daemon = await startDaemon();
  await using container = await startContainer(daemon, { name: "c", args: ["sleep", "100000"] });
  expect((await daemon.api.state()).containers.map(({ id }) => id)).toEqual([container.id]);
  await eventually(
    async () => {
      const { wakeups } = activityOf(daemon.pid);
      await sleep(LONG);
      return activityOf(daemon.pid).wakeups === wakeups;
    },
    { what: "a long time without a wake-up" },
  );
});
