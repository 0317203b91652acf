import { statSync } from "node:fs";
import { join } from "node:path";
import { EXIT_FIFO } from "../../../contract/shim/process-directory.js";
import type { Container } from "../container.js";
import { followExit } from "../exit/exit.js";
import { processEnd, watchExit } from "../monitor.js";
import { INIT, Process } from "../process.js";
import { childrenOf, findShims, type Identity } from "../shims/shim-process.js";
import { readPidFile } from "../state-directory/pid-file.js";
import type { Supervisor } from "../supervisor.js";

/** Which process of the host it is: as it was written down, or, when a part of that is lost, the one that its shim is the parent of. */
export function findIdentity(container: Container, name: string): Identity | undefined {
  const directory = join(container.directory, name);
  const pid = readPidFile(directory);
  const startTime = Process.readStartTime(directory);
  if (pid !== undefined && startTime !== "") return { pid, startTime };
  if (pid === undefined && startTime === "") return undefined;
  const children = findShims(directory, container.id, container.shim.name).flatMap(childrenOf);
  const child = children.find((candidate) => candidate.pid === pid || candidate.startTime === startTime);
  return child ?? (pid === undefined ? undefined : { pid, startTime: "" });
}

export function loadProcess(container: Container, name: string, identity: Identity): Process {
  return Process.load(join(container.directory, name), name, identity);
}

/** Reports a start that its daemon did not live to report. */
export function announce(supervisor: Supervisor, container: Container, process: Process): void {
  if (process.announced) return;
  const { run } = process;
  if (supervisor.events.hasStart(container.id, process.id, creationTime(process), run) === false) {
    supervisor.emit(
      process.id === INIT
        ? { type: "start-container", id: container.id, run }
        : { type: "start-process", id: container.id, pid: process.id, run },
    );
  }
  process.markAnnounced();
}

export function creationTime(process: Process): bigint {
  // Nothing is ever written into the exit FIFO.
  return statSync(join(process.directory, EXIT_FIFO), { bigint: true }).mtimeNs;
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
