/** What a pull leaves: nothing that wakes the daemon up. */
import { join } from "node:path";
import { test } from "vitest";
import { startContainerd1 } from "../../harness/containerd1.js";
import { full } from "../../harness/extent.js";
import { activityOf } from "../../harness/processes.js";
import { hasRegistry, startRegistry } from "../../harness/registry.js";
import { makeTestImage } from "../../harness/test-images.js";
import { Transfers } from "../../harness/transfer.js";
import { eventually, sleep } from "../../harness/wait.js";

/** In ms: longer than a period of V8's slowest timer, which is one of 8 s. */
const LONG = 9_000;

test.skipIf(!full || !hasRegistry)("a daemon that has pulled sleeps again", async () => {
  await using registry = await startRegistry();
  await using daemon = await startContainerd1();
  const { layout } = await makeTestImage(join(daemon.dir, "image"), "base");
  await registry.push(layout.dir, "idle/image:1");
  await new Transfers(daemon.v1("idle")).pull(`${registry.host}/idle/image:1`);
  await eventually(
    async () => {
      const { wakeups } = activityOf(daemon.pid);
      await sleep(LONG);
      return activityOf(daemon.pid).wakeups === wakeups;
    },
    { what: "a long time without a wake-up" },
  );
});
