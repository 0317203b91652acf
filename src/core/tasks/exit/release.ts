import { setTimeout as delay } from "node:timers/promises";
import { errorText } from "../../../system/linux/libc.js";
import { isQuickToUnmount, removeWithMounts, unmountAll } from "../rootfs.js";
import { sharedMemoryIn, type Task } from "../task.js";
import type { Tasks } from "../tasks.js";

/** In ms: the pause after the runtime has failed to delete a container for the first time; each later one is twice as long. */
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 30_000;

export interface ReleaseOptions {
  /** Never rejects; the directory stays until it is settled. */
  ready?: Promise<void>;
  /** What is done right before the directory goes; may be called any number of times. */
  before?: () => void;
}

type Releasing = Pick<Tasks, "log" | "removals">;

/**
 * Removes the directory of a container that has exited and whose exit was told; its id is free then. While the runtime still knows the
 * container, or its cgroup is busy, deleting it is tried again, if need be by the next daemon.
 */
export function release(tasks: Releasing, task: Task, { ready, before }: ReleaseOptions = {}): void {
  const remove = () => {
    before?.();
    removeWithMounts(task.mountPoints, () => task.removeDirectory());
  };
  const { removals } = tasks;
  const removeUnmounted = () => {
    if (task.hasMounts) removals.after(unmountRootfs(tasks, task, ready), task.directory, remove);
    else if (ready === undefined) removals.now(task.directory, remove);
    else removals.after(ready, task.directory, remove);
  };
  if (task.container.isHeld) {
    markEnded(tasks, task);
    void letGo(tasks, task).then(removeUnmounted);
  } else {
    removeUnmounted();
  }
}

async function unmountRootfs({ log }: Releasing, task: Task, ready: Promise<void> | undefined): Promise<void> {
  await ready;
  try {
    await unmountAll(task.rootfsPath, task.isOurRootfs && isQuickToUnmount(task.rootfs, task.directory));
    await unmountAll(sharedMemoryIn(task.directory), true);
  } catch (error) {
    log.error({ id: task.id, error: errorText(error) }, "containerd: unmount the root file system; trying again");
  }
}

function markEnded(tasks: Releasing, task: Task): void {
  tasks.log.warn({ id: task.id }, "containerd: the runtime does not let go of the container; trying again");
  try {
    task.markEnded();
  } catch (error) {
    tasks.log.error({ id: task.id, error: errorText(error) }, "containerd: mark as ended");
  }
}

/** Resolves when the runtime has deleted the container. */
async function letGo(tasks: Releasing, task: Task): Promise<void> {
  for (let pause = FIRST_PAUSE; task.container.isHeld; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    await delay(pause, undefined, { ref: false });
    await task.container.delete();
  }
  tasks.log.info({ id: task.id }, "containerd: the runtime has let go of the container");
}

/** For a container that an earlier daemon has marked as ended. */
export function releaseRest(tasks: Releasing, task: Task): void {
  task.container.isHeld = true;
  release(tasks, task);
}
