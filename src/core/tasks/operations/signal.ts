import { signalAll } from "../../../system/cgroup/signal.js";
import { withReserve } from "../../../system/linux/reserved-descriptors.js";
import { Failure } from "../../failure/failure.js";
import type { TaskName } from "../history.js";
import { INIT } from "../process.js";
import type { Tasks } from "../tasks.js";

const SIGKILL = 9;
const LAST_SIGNAL = 64;

/**
 * Sends a signal to a process of a container.
 * @param pid name of the process
 * @param signal its number; 0 probes
 * @param all to every process of the container, if that one is its init
 * @throws Failure: not-found, invalid-argument, failed-precondition while the process is not created
 */
export function signalProcess(tasks: Tasks, name: TaskName, pid: string, signal: number, all = false): void {
  tasks.operations.run({ kind: "signal", id: name.id, pid }, (operation) => {
    operation.doing = `signal ${signal}`;
    const task = tasks.get(name);
    const proc = task.process(pid);
    // All that was in it has ended with its init.
    if (all && pid === INIT && proc.status === "stopped") return;
    // An exec whose start has failed, …
    if (proc.systemPid === 0 && proc.status === "stopped") throw new Failure("not-found", "process-ended", { pid });
    // … and one that does not run yet.
    if (proc.systemPid === 0) throw new Failure("failed-precondition", "process-not-created", { id: name.id, pid });
    const { cgroup } = task;
    if (!all || pid !== INIT || cgroup === undefined) proc.signal(signal);
    else {
      // Whether it is there.
      proc.signal(0);
      if (signal < 0 || signal > LAST_SIGNAL) throw new Failure("invalid-argument", "invalid-signal", { signal });
      if (signal === SIGKILL) proc.killed = true;
      withReserve(() => signalAll(cgroup, signal));
    }
  });
}
