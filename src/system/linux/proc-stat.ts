import { readFileSync } from "node:fs";
import { hasCode } from "./libc.js";
import { withReserve } from "./reserved-descriptors.js";

/** What /proc/<pid>/stat tells (proc(5)), as far as it is used here. */
export interface ProcStat {
  /** The command's name; may hold spaces, parentheses and newlines. */
  comm: string;
  /** "R", "S", "D", "T", "Z", … */
  state: string;
  parent: number;
  /** Of processes: the pid of the one that has begun it. */
  session: number;
  /** PF_EXITING is set: the process is on its way out, or a zombie. */
  exiting: boolean;
  /** Field 22: clock ticks after boot. With the pid it names one process for good; a recycled pid has another. */
  startTime: string;
}

const PF_EXITING = 0x4;

/** Reads the text of a /proc/<pid>/stat. Throws an Error when it isn't one. */
export function parseProcStat(text: string): ProcStat {
  // The name is the only field that can hold anything, so the fields count from the last parenthesis.
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  const fields = close < 0 ? [] : text.slice(close + 2).split(" ");
  const [state, parent] = fields;
  // Numbers as in proc(5), less the first three (pid, comm, state being fields[0]).
  const session = fields[6 - 3];
  const flags = fields[9 - 3];
  const startTime = fields[22 - 3];
  if (open < 0 || !state || !parent || !session || !flags || !startTime) {
    throw new Error(`not a /proc/<pid>/stat: ${JSON.stringify(text)}`);
  }
  return {
    comm: text.slice(open + 1, close),
    state,
    parent: Number(parent),
    session: Number(session),
    exiting: (Number(flags) & PF_EXITING) !== 0,
    startTime: startTime.trimEnd(),
  };
}

/** Undefined when there is no such process (any more). */
export function readProcStat(pid: number): ProcStat | undefined {
  let text: string;
  try {
    text = withReserve(() => readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch (error) {
    // ESRCH: it went away between the open and the read.
    if (hasCode(error, "ENOENT") || hasCode(error, "ESRCH")) return undefined;
    throw error;
  }
  // A process that is reaped right now can read as nothing.
  return text === "" ? undefined : parseProcStat(text);
}

/** Field 22 of /proc/<pid>/stat, as it is kept in the state directory's `starttime`; undefined when the process is gone. */
export function startTimeOf(pid: number): string | undefined {
  return readProcStat(pid)?.startTime;
}

/** The parent's pid (0: the kernel, or a process outside of this pid namespace); undefined when the process is gone. */
export function parentOf(pid: number): number | undefined {
  return readProcStat(pid)?.parent;
}

/** "R", "S", "Z", …; undefined when the process is gone. */
export function stateOf(pid: number): string | undefined {
  return readProcStat(pid)?.state;
}

/**
 * True while the process runs: a zombie (exited, not reaped) is not alive. With `startTime`, true only for the very process that
 * started then and not for one that got its pid.
 */
export function isAlive(pid: number, startTime?: string): boolean {
  const stat = readProcStat(pid);
  if (stat === undefined || stat.state === "Z" || stat.state === "X") return false;
  return startTime === undefined || stat.startTime === startTime;
}
