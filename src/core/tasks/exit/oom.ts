import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { KILLED_STATUS } from "../../../contract/shim/exit-status.js";
import type { OomWatch } from "../../../system/cgroup/cgroup.js";
import { errorText } from "../../../system/linux/libc.js";
import { type OomSubscription, subscribeOom } from "../monitor.js";
import type { Process } from "../process.js";
import { readStateFile } from "../state-directory/state-file.js";
import { readUsage } from "../state-directory/usage.js";
import type { Task } from "../task.js";
import type { Tasks } from "../tasks.js";

/** In ms: how long the kernel may take to signal that a cgroup was removed. */
const REMOVAL_NOTICE = 50;

/** A container's OOM watch. */
export interface TaskOomWatch {
  /** The container's start is known to all: OOM events that came before are sent now, later ones at once. */
  announce(): void;
  /** Sends what has not been sent yet: to be awaited before the exit of the container's init is told. */
  flush(init: Process): Promise<void>;
  /** How many processes of it were killed for want of memory, by now. */
  kills(): bigint;
  /** Ends the watch. */
  end(): void;
}

/**
 * Watches a container for OOM kills; one that can't be watched is logged. How many have been told is kept in the container's directory, so
 * that those of a time without a daemon are told, too.
 * @param restored an earlier daemon has started it
 */
export function watchOom(tasks: Pick<Tasks, "log" | "reports">, task: Task, restored = false): TaskOomWatch {
  let announced = false;
  let early = 0;
  const warn = (error: unknown) =>
    tasks.log.warn({ id: task.id, error: errorText(error) }, "containerd: notify OOM events");
  let watch: OomWatch | undefined;
  let subscription: OomSubscription | undefined;
  const past = restored ? toldBefore(tasks, task) : 0n;
  const send = (kills: bigint) => {
    // Before the event: with it, a later daemon sees from the log whether this was told.
    writeTold(tasks, task, `${kills} ${tasks.reports.last(task)}`);
    tasks.reports.tell(task, "/tasks/oom");
  };
  const tell = (kills: bigint) => {
    tasks.log.info({ id: task.id }, "containerd: container out of memory");
    if (announced) send(kills);
    else early++;
  };
  try {
    watch = task.cgroup?.watchOom(past === undefined ? { ignorePast: true } : { past });
    if (watch !== undefined) {
      const { told } = watch;
      if (past === undefined) writeTold(tasks, task, `${told}`);
      subscription = subscribeOom(watch, () => tell(watch!.told), warn);
    }
  } catch (error) {
    warn(error);
  }
  return {
    announce() {
      announced = true;
      for (; early > 0; early--) send(watch!.told);
    },
    async flush(init) {
      const { oomKills } = readUsage(init.directory);
      if (oomKills !== undefined) {
        // The shim has counted them all: nothing that the kernel still says is news.
        subscription?.end();
        if (oomKills > (watch?.told ?? past ?? oomKills)) tell(oomKills);
        return;
      }
      const killed = init.exitStatus() === KILLED_STATUS && !init.killed;
      if (subscription?.read() !== "removed" || !killed) return;
      // The last signal of v1's eventfd may have been an OOM or the removal; a second one decides that.
      await delay(REMOVAL_NOTICE);
      subscription.read();
    },
    kills() {
      subscription?.read();
      return watch?.told ?? 0n;
    },
    end: () => subscription?.end(),
  };
}

/** Beside the process directories, hence with a beginning that no process's name may have. */
const toldFile = ({ directory }: Task) => join(directory, "cgroup.json.oom");

function writeTold(tasks: Pick<Tasks, "log">, task: Task, text: string): void {
  try {
    writeFileSync(toldFile(task), text, { mode: 0o600 });
  } catch (error) {
    tasks.log.warn({ id: task.id, error: errorText(error) }, "containerd: write OOM kills");
  }
}

/** How many kills earlier daemons have told; undefined when unknown: another project's daemon keeps no count. */
function toldBefore({ reports }: Pick<Tasks, "reports">, task: Task): bigint | undefined {
  const file = toldFile(task);
  try {
    // Asked before it is opened: hardly ever is there one, and an error costs many times as much.
    if (existsSync(file)) {
      const [, kills, before] = /^(\d+)(?: (\d+))?$/.exec(readStateFile(file)) ?? [];
      if (kills === undefined) return undefined;
      const wasTold = before === undefined || reports.history(task).hasOom(task, BigInt(before));
      return wasTold ? BigInt(kills) : BigInt(kills) - 1n;
    }
  } catch {
    // As if it were not there.
  }
  return task.remembersCgroup ? 0n : undefined;
}
