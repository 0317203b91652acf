import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { errorText } from "../../../system/linux/libc.js";
import { withDeadline } from "../../failure/deadline.js";
import { Failure } from "../../failure/failure.js";
import type { Operation } from "../../telemetry/operations.js";
import type { Container } from "../container.js";
import { endShims, shimsOf, tellEnd, WATCH_INTERVAL } from "../exit/lost-process.js";
import { removeTree } from "../state-directory/partial-directory.js";
import type { Supervisor } from "../supervisor.js";
import { announce, findIdentity, follow, loadProcess } from "./restore-process.js";

/** An exec that its daemon did not live to see created: its shim goes on with it, so it is waited for, and then it is there or nothing is. */
export async function adoptExec(
  supervisor: Supervisor,
  container: Container,
  name: string,
  operation: Operation,
): Promise<void> {
  operation.doing = "waiting for an exec of an earlier daemon";
  const late = () => new Failure("deadline-exceeded", "start-timeout", { timeout: supervisor.startTimeout });
  try {
    await container.turns.shared(() =>
      withDeadline([container.exited], supervisor.startTimeout, late, async (signal) => {
        const identity = await waitForIdentity(container, name, signal);
        if (identity === undefined) throw new Error("its shim ended");
        const process = loadProcess(container, name, identity);
        container.processes.set(name, process);
        announce(supervisor, container, process);
        follow(supervisor, container, process);
      }),
    );
  } catch (error) {
    supervisor.log.warn({ id: container.id, pid: name, error: errorText(error) }, "containerd: exec was not started");
    await endLostExec(supervisor, container, name);
  }
}

async function waitForIdentity(container: Container, name: string, signal: AbortSignal) {
  const directory = join(container.directory, name);
  for (;;) {
    // In this order: a shim may write the pid and end at once.
    const shims = shimsOf(container, name);
    const identity = findIdentity(container, name);
    if (identity !== undefined || shims.length === 0) return identity;
    if (existsSync(join(directory, "started"))) throw new Error("nobody knows which process it is");
    await delay(WATCH_INTERVAL, undefined, { signal });
  }
}

/**
 * Ends an exec that can't be followed: its shim, and what that has started. Then its exit is told if its start was, and its name is free: nobody gets it
 * before. Never rejects.
 */
export async function endLostExec(supervisor: Supervisor, container: Container, name: string): Promise<void> {
  const directory = join(container.directory, name);
  const ended = endAndTell(supervisor, container, name);
  supervisor.removals.after(ended, directory, () => removeTree(directory));
  await ended;
}

async function endAndTell(supervisor: Supervisor, container: Container, name: string): Promise<void> {
  try {
    tellEnd(supervisor, container, name, await endShims(container, name));
    await new Promise<void>((resolve) => supervisor.events.whenStored(resolve));
  } catch (error) {
    supervisor.log.error({ id: container.id, pid: name, error: errorText(error) }, "containerd: end exec");
  }
}
