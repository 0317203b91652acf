import { existsSync } from "node:fs";
import { join } from "node:path";
import { EXIT_FIFO } from "../../../contract/shim/process-directory.js";
import { isAlive } from "../../../system/linux/proc-stat.js";
import type { Container } from "../container.js";
import { followExit } from "../exit/exit.js";
import { processEnd, watchExit } from "../monitor.js";
import { INIT, Process, runOf } from "../process.js";
import { childrenOf, findShims, type Identity } from "../shims/shim-process.js";
import { readPidFile } from "../state-directory/pid-file.js";
import type { Supervisor } from "../supervisor.js";

/** Which process of the host it is. */
interface FoundIdentity extends Identity {
  /** In both of its files; else in one, or in none. */
  isWritten?: boolean;
}

/** As it was written down, or, when a part of that is lost, the one that its shim is the parent of. */
export function findIdentity(container: Container, name: string): FoundIdentity | undefined {
  const directory = join(container.directory, name);
  const pid = readPidFile(directory);
  const startTime = Process.readStartTime(directory);
  if (pid !== undefined && startTime !== "") return { pid, startTime, isWritten: true };
  if (pid === undefined && startTime === "") return undefined;
  const children = findShims(directory, container.id, container.shim.name).flatMap(childrenOf);
  const child = children.find((candidate) => candidate.pid === pid || candidate.startTime === startTime);
  return child ?? (pid === undefined ? undefined : { pid, startTime: "" });
}

export function loadProcess(container: Container, name: string, identity: FoundIdentity): Process {
  return Process.load(join(container.directory, name), name, identity, identity.isWritten);
}

/** Reports a start that its daemon did not live to report. */
export function announce(supervisor: Supervisor, container: Container, process: Process): void {
  if (process.announced) return;
  const { id: pid, run } = process;
  if (!wasTold(supervisor, container, pid, run)) {
    supervisor.emit(
      pid === INIT
        ? { type: "start-container", id: container.id, run }
        : { type: "start-process", id: container.id, pid, run },
    );
  }
  supervisor.events.whenStored(() => process.markAnnounced());
}

/** Whether the start of a process that has no mark of it was told. */
function wasTold(supervisor: Supervisor, container: Container, pid: string, run: string): boolean {
  // The mark comes right after the event: of a daemon that makes one, the event would still be there. Others make none.
  return supervisor.events.hasStart(container.id, pid, run) ?? !container.remembersCgroup;
}

/**
 * Whether an exec is over that its daemon did not live to tell of: its call had failed, or was called off, and nobody is left who could say more. Nothing is
 * told of it then.
 */
export function wasUndone(supervisor: Supervisor, container: Container, name: string, identity: Identity): boolean {
  const directory = join(container.directory, name);
  const { pid, startTime } = identity;
  if (existsSync(join(directory, "started")) || (startTime !== "" && isAlive(pid, startTime))) return false;
  if (findShims(directory, container.id, container.shim.name).length > 0) return false;
  // In this order: a shim writes it before it ends.
  if (Process.readExitStatus(directory) !== undefined) return false;
  return !wasTold(supervisor, container, name, runOf(identity));
}

/** @param beforeExit called when the process has exited, before that is reported */
export function follow(
  supervisor: Supervisor,
  container: Container,
  process: Process,
  beforeExit = async () => {},
): void {
  const hungUp = watchExit(process.exitFd, join(process.directory, EXIT_FIFO));
  const exited = hungUp.then(() => shimEnd(container, process));
  process.done = followExit(supervisor, container, process, exited.then(beforeExit));
}

/** The FIFO that hung up may not be the one that the shim holds, when that was damaged: it may still be there. */
async function shimEnd(container: Container, process: Process): Promise<void> {
  if (process.exitStatus() !== undefined) return;
  const shims = findShims(process.directory, container.id, container.shim.name);
  await Promise.all(shims.map(({ pid, startTime }) => processEnd(pid, startTime)));
}
