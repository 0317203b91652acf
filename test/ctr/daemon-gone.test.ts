import { expect, test } from "vitest";
import { startDaemon } from "../harness/daemon.js";
import { ctrError } from "./ctr.js";

test("a daemon that is not there is told in one line, fast; one that hangs after --conn-timeout", async () => {
  await using daemon = await startDaemon();
  process.kill(daemon.pid, "SIGSTOP");
  expect(await ctrError(daemon, "--conn-timeout", "300ms", "version")).toBe(
    `cannot reach containerd at ${daemon.listen}: no answer within 300 ms`,
  );
  await daemon.kill();
  const started = performance.now();
  for (const command of [["version"], ["containers"], ["events"], ["state"]])
    expect(await ctrError(daemon, "--conn-timeout", "60s", ...command)).toMatch(
      /^cannot reach containerd at unix:\/\/.*: (connection refused|no such file or directory)$/,
    );
  // Nobody has waited for it.
  expect(performance.now() - started).toBeLessThan(60_000);
});
