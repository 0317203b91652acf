import { randomBytes } from "node:crypto";
import { KILLED_STATUS } from "../../../contract/shim/exit-status.js";
import { bootTime } from "../../../system/linux/clock.js";
import { killFamily } from "../../../system/linux/process-family.js";
import { abortable } from "../../failure/abortable.js";
import { Failure, refusal } from "../../failure/failure.js";
import { logText } from "../../failure/log-text.js";
import { abandonOutput } from "../../tasks/exit/exits.js";
import { atBootTime } from "../../tasks/lifetime.js";
import { addKept } from "../../tasks/operations/add-exec.js";
import { deleteStoppedExec } from "../../tasks/operations/delete.js";
import { startAdded, startOver } from "../../tasks/operations/start-exec.js";
import { waitForExit } from "../../tasks/operations/wait.js";
import { type Exit, INIT, type Process, type Stdio } from "../../tasks/process.js";
import type { Task } from "../../tasks/task.js";
import { checkTime } from "../check-time.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { NO_WISHES, prepareHost } from "../spec/host-facts.js";
import type { OciSpec } from "../spec/oci-spec.js";
import { type ExecWishes, processOf } from "../spec/process.js";
import { killedByExpiry } from "../time-to-live.js";
import { isPast } from "./exit-of.js";
import { runningTask } from "./running.js";
import { userIn } from "./user-in.js";

/** In ms: how often a check that was killed is looked at until it is over. */
const LOOK_INTERVAL = 1_000;

/** What the processes of health checks are called. */
export const CHECK_PREFIX = "containerdts.health.";

export interface ExecRequest extends Omit<ExecWishes, "user"> {
  /** "" has one made. */
  execId: string;
  /** `USER[:GROUP]`; "" is the container's own. */
  user: string;
  stdio: Stdio;
  /** In ms: until it, and what it has started, is killed; 0 is none. */
  timeout: number;
}

/**
 * Runs one more process in a container. The same request for an id that is there answers with that process.
 * @param signal ends the attempt
 * @throws Failure: failed-precondition for a container that does not run, or is paused; already-exists for an id that is another's;
 *   invalid-argument; nothing is left then
 */
export async function exec(
  engine: Engine,
  container: EngineContainer,
  request: ExecRequest,
  signal: AbortSignal,
): Promise<Process> {
  const { tasks } = engine;
  const { namespace, id } = container;
  const task = runningTask(engine, container);
  if (task.isPaused) {
    const why = `container ${JSON.stringify(id)} is paused: resume it first`;
    throw new Failure("failed-precondition", "refused", { why });
  }
  const execId = request.execId || randomBytes(16).toString("hex");
  if (execId === INIT)
    throw new Failure("invalid-argument", "refused", { why: `exec id "${INIT}" is the container's own process` });
  if (execId.startsWith(CHECK_PREFIX)) throw refusal(`exec id ${JSON.stringify(execId)}: health checks are called so`);
  checkTime("timeout", request.timeout);
  const before = task.processes.get(execId);
  if (before === undefined) {
    const record = await engine.containers.get(namespace, id);
    const spec = JSON.parse(record.spec!.value.toString("utf8")) as OciSpec;
    const user = request.user === "" ? undefined : await userIn(task, request.user, signal);
    const process = processOf(
      spec,
      { ...request, user },
      await prepareHost(NO_WISHES, { systemdCgroup: false, signal }),
    );
    const endsAt = request.timeout > 0 ? bootTime() + request.timeout : undefined;
    await addKept(tasks, container, { name: execId, process, stdio: request.stdio, endsAt }, signal);
  } else if (!isSame(before, request)) {
    throw new Failure("already-exists", "refused", {
      why: `container ${JSON.stringify(id)} has a process ${JSON.stringify(execId)}`,
    });
  }
  return await startOnce(engine, container, task, execId, before !== undefined, signal);
}

async function startOnce(
  engine: Engine,
  container: EngineContainer,
  task: Task,
  execId: string,
  isRepeated: boolean,
  signal: AbortSignal,
): Promise<Process> {
  const proc = task.process(execId);
  if (isRepeated) await abortable(startOver(proc), signal);
  if (proc.status !== "added") return proc;
  const oomKills = task.oom?.kills();
  try {
    await startAdded(engine.tasks, container, execId);
  } catch (error) {
    if (task.processes.get(execId) === proc) deleteStoppedExec(engine.tasks, container, execId);
    throw error;
  }
  watchMemory(task, proc, oomKills);
  watchTimeout(engine, task, proc);
  return proc;
}

/** @param before how many processes of the task had been killed for want of memory when it began */
function watchMemory(task: Task, proc: Process, before = 0n): void {
  proc.whenOver(() => {
    proc.oomKilled = proc.exit?.status === KILLED_STATUS && (task.oom?.kills() ?? 0n) > before;
  });
}

function isSame({ state, stdio }: Process, { args, stdio: wanted, tty }: ExecRequest): boolean {
  const { stdin, stdout, stderr } = stdio;
  return (
    JSON.stringify(state.args) === JSON.stringify(args) &&
    (state.terminal ?? false) === tty &&
    JSON.stringify([stdin, stdout, stderr]) === JSON.stringify([wanted.stdin, wanted.stdout, wanted.stderr])
  );
}

/** Kills a process, with what it has started, when its time is over. */
export function watchTimeout(engine: Engine, task: Task, proc: Process): void {
  const { endsAt } = proc.state;
  if (endsAt === undefined || proc.status === "stopped") return;
  const stop = atBootTime(endsAt, () => {
    const fields = { id: task.id, pid: proc.id };
    engine.log.info(fields, "containerd: a process is killed: its time is over");
    killExec(task, proc).catch((error) =>
      engine.log.error({ ...fields, error: logText(error) }, "containerd: kill a process"),
    );
    if (proc.id.startsWith(CHECK_PREFIX)) endWithoutOutput(task, proc);
  });
  proc.whenOver(stop);
}

/**
 * Has a check whose time is over end with its own process: what it has started, and has left its session, is not found, and may hold its
 * output open for as long as the container runs.
 */
export function endWithoutOutput(task: Task, proc: Process): void {
  // One that is frozen ends when it goes on.
  const timer = setInterval(() => {
    if (proc.exitStatus() !== undefined) abandonOutput(task, proc);
  }, LOOK_INTERVAL).unref();
  proc.whenOver(() => clearInterval(timer));
}

/** Kills a process that was run in a container, with what it has started. @throws a system error */
export async function killExec(task: Task, proc: Process): Promise<void> {
  const others = [...task.processes.values()].filter((one) => one !== proc && one.status === "running");
  await killFamily(
    proc.systemPid,
    proc.startTime,
    () => task.cgroup?.pids() ?? [],
    () => others.map(({ systemPid }) => systemPid),
  );
}

/** Goes on to watch those that an earlier daemon has started, or was about to. */
export function watchExecs(engine: Engine, task: Task): void {
  for (const proc of task.processes.values()) {
    if (proc.id === INIT) continue;
    watchMemory(task, proc, task.oom?.kills());
    if (proc.id.startsWith(CHECK_PREFIX)) forgetCheck(engine, task, proc);
    if (proc.state.endsAt === undefined) continue;
    void startOver(proc).then(() => {
      if (proc.status === "running") watchTimeout(engine, task, proc);
    });
  }
}

/** Nobody asks for the result of a check that an earlier daemon has begun. */
function forgetCheck(engine: Engine, task: Task, proc: Process): void {
  void startOver(proc).then(() =>
    proc.whenOver(() => {
      if (task.processes.get(proc.id) === proc) deleteStoppedExec(engine.tasks, task, proc.id);
    }),
  );
}

/** Resolves once a process has ended. @throws Failure: not-found; the signal's reason */
export async function waitForExec(
  engine: Engine,
  container: EngineContainer,
  execId: string,
  signal: AbortSignal,
): Promise<Exit & { oomKilled: boolean; timedOut: boolean; expired: boolean }> {
  try {
    return await waitForTaskProcess(engine, container, execId, signal);
  } catch (error) {
    // It may go with its container before its own end is seen.
    if (container.isExpired && error instanceof Failure && error.kind === "not-found") return killedByExpiry();
    throw error;
  }
}

async function waitForTaskProcess(
  engine: Engine,
  container: EngineContainer,
  execId: string,
  signal: AbortSignal,
): ReturnType<typeof waitForExec> {
  const task = engine.taskOf(container);
  if (task === undefined) throw new Failure("not-found", "process-not-found", { id: container.id, pid: execId });
  const proc = task.process(execId);
  const exit = await waitForExit(engine.tasks, task, proc, signal);
  const { endsAt } = proc.state;
  const wasKilled = exit.status === KILLED_STATUS;
  const timedOut = wasKilled && endsAt !== undefined && isPast(exit.at, endsAt);
  return { ...exit, oomKilled: proc.oomKilled, timedOut, expired: wasKilled && container.isExpired };
}

/** @throws Failure: not-found, failed-precondition while it runs */
export function deleteExec(engine: Engine, container: EngineContainer, execId: string): void {
  deleteStoppedExec(engine.tasks, container, execId);
}
