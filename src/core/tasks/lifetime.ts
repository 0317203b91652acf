import { closeSync } from "node:fs";
import type { Logger } from "pino";
import { bootTime } from "../../system/linux/clock.js";
import { EPOLLIN, epoll } from "../../system/linux/epoll.js";
import { errorText } from "../../system/linux/libc.js";
import { openPidFd } from "../../system/linux/pidfd.js";
import { thaw } from "./freezer.js";
import { isOwnerAlive, type Owner } from "./owner.js";
import type { Task } from "./task.js";

/** In ms: how soon a program is tried to be watched again. */
const RETRY_INTERVAL = 1_000;
/** The longest time, in ms, that a timer of Node's can have. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * Ends a container when its time is over or when the program that owns it has exited, whichever comes first; at once if that has happened
 * while no daemon ran. A container without a lifetime and an owner is left to itself.
 */
export function watchLifetime(log: Logger, task: Task): void {
  const { owner } = task;
  if (task.exited.aborted) return;
  const releases: (() => void)[] = [() => task.stopClock()];
  watchClock(log, task);
  if (owner !== undefined) {
    const gone = () => void end(log, task, `the program that it belongs to (pid ${owner.pid}) has gone`);
    releases.push(watchOwner(log, owner, gone));
  }
  const release = () => {
    for (const each of releases) each();
  };
  task.exited.addEventListener("abort", release, { once: true });
}

function watchClock(log: Logger, task: Task): void {
  const { endsAt } = task;
  task.stopClock();
  if (endsAt === undefined) return;
  task.stopClock = atBootTime(endsAt, () => void end(log, task, "its time is over"));
}

/**
 * Has a container that runs end at another time.
 * @param endsAt in ms since the machine has booted; undefined: not by itself
 * @throws a system error; it ends when it would have ended
 */
export function changeLifetime(log: Logger, task: Task, endsAt: number | undefined): void {
  task.changeEnd(endsAt);
  if (!task.exited.aborted) watchClock(log, task);
}

/** Never throws: what can't be watched yet (no descriptor is left) is tried again. @returns what ends the watch */
export function watchOwner(log: Logger, owner: Owner, gone: () => void): () => void {
  let release = () => {};
  const watch = () => {
    try {
      release = watchProcess(owner, gone);
    } catch (error) {
      if (tries++ === 0)
        log.warn({ owner: owner.pid, error: errorText(error) }, "containerd: watch the owner of a container");
      const timer = setTimeout(watch, RETRY_INTERVAL).unref();
      release = () => clearTimeout(timer);
    }
  };
  let tries = 0;
  watch();
  return () => release();
}

/** Calls `gone` once the program has ended. Throws a system error. @returns what ends the watch */
function watchProcess(owner: Owner, gone: () => void): () => void {
  let fd: number;
  try {
    fd = openPidFd(owner.pid);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    gone();
    return () => {};
  }
  let isOpen = true;
  const release = () => {
    if (!isOpen) return;
    isOpen = false;
    epoll.remove(fd);
    closeSync(fd);
  };
  const ended = () => {
    release();
    gone();
  };
  try {
    // The descriptor holds one process: if that has the owner's start time, it is the owner.
    if (isOwnerAlive(owner)) epoll.add(fd, EPOLLIN, ended);
    else ended();
  } catch (error) {
    release();
    throw error;
  }
  return release;
}

/** As setTimeout, for a time of {@link bootTime}, however far away. @returns what takes it back */
export function atBootTime(time: number, run: () => void): () => void {
  let timer: NodeJS.Timeout;
  const wait = () => {
    const left = time - bootTime();
    if (left <= 0) run();
    else timer = setTimeout(wait, Math.min(left, LONGEST_TIMER));
  };
  timer = setTimeout(wait, 0);
  return () => clearTimeout(timer);
}

async function end(log: Logger, task: Task, why: string): Promise<void> {
  const { id } = task;
  if (task.exited.aborted) return;
  log.info({ id, why }, "containerd: ending a container");
  try {
    await thaw(task);
    task.init?.kill();
  } catch (error) {
    log.error({ id, error: errorText(error) }, "containerd: end container");
  }
}
