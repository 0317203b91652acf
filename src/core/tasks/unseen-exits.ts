import { INIT } from "./process.js";
import type { TaskEvent } from "./task-event.js";
import type { Tasks } from "./tasks.js";

/** In ms, after the daemon's start: clients that were connected to its predecessor have come back by then. */
const RETURN = 30_000;

/**
 * For who subscribes while clients of the last daemon come back: the exits that wait for somebody to delete the process. They may have been
 * told when nobody could hear it, and there are clients (dockerd) that do not look for themselves when they have lost the connection.
 * Later there are none: a subscription begins now.
 */
export function unseenExits(tasks: Tasks): TaskEvent[] {
  if (process.uptime() * 1_000 > RETURN) return [];
  const exits = tasks.list().flatMap(({ namespace, id: object, processes }) =>
    [...processes.values()].flatMap((proc): TaskEvent[] => {
      const { id, systemPid: pid, run, status, exit, isSilent } = proc;
      if (isSilent || namespace === "" || status !== "stopped" || exit === undefined) return [];
      const payload = { process: id, pid, status: exit.status, exitedAt: exit.at, run };
      return [{ topic: "/tasks/exit", namespace, object, payload, time: exit.at }];
    }),
  );
  // An init's exit is the last of its task.
  const isInit = (event: TaskEvent) => event.topic === "/tasks/exit" && event.payload.process === INIT;
  return [...exits.filter((event) => !isInit(event)), ...exits.filter(isInit)];
}
