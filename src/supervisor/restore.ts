import { readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { errorText } from "../linux/libc.js";
import { Container } from "../runtime/container.js";
import { Process } from "../runtime/process.js";
import { followExit } from "./exit.js";
import { watchOom } from "./oom.js";
import type { Supervisor } from "./supervisor.js";

/** Takes over all containers that the state directory holds. One that can't be taken over is logged and does not stop the others. */
export async function restore(supervisor: Supervisor): Promise<void> {
  const began = performance.now();
  const ids = readdirSync(supervisor.stateDir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
  const results = await Promise.allSettled(ids.map((id) => restoreContainer(supervisor, id)));
  results.forEach((result, index) => {
    if (result.status === "rejected") {
      supervisor.log.error({ id: ids[index], error: errorText(result.reason) }, "containerd: restore container");
    }
  });
  supervisor.log.debug(
    { containers: supervisor.containers.size, duration: Math.round(performance.now() - began) },
    "containerd: containers restored",
  );
}

async function restoreContainer(supervisor: Supervisor, id: string): Promise<void> {
  const directory = join(supervisor.stateDir, id);
  let container: Container;
  try {
    container = Container.load(supervisor.epoll, supervisor.stateDir, id, (name) => supervisor.shimProgram(name));
  } catch (error) {
    supervisor.log.warn({ id, error: errorText(error) }, "containerd: no container; removing its directory");
    rmSync(directory, { recursive: true, force: true });
    return;
  }
  for (const name of container.processDirectories()) {
    try {
      container.processes.set(name, Process.load(join(directory, name), name));
    } catch (error) {
      supervisor.log.warn({ id, pid: name, error: errorText(error) }, "containerd: no process; removing its directory");
      rmSync(join(directory, name), { recursive: true, force: true });
    }
  }
  const { init } = container;
  const started = init === undefined ? false : await wasStarted(supervisor, container, init);
  if (init === undefined || !started) {
    // Nobody was ever told of it: its start ends here, with nothing left.
    supervisor.log.warn({ id }, "containerd: container was not started; removing it");
    for (const process of container.processes.values()) process.close();
    await container.runtime.forceDelete(id);
    container.removeDirectory();
    return;
  }
  container.paused = container.cgroup?.frozen() ?? false;
  supervisor.containers.set(id, container);
  const oom = watchOom(supervisor, container, true);
  oom.announce();
  for (const process of container.processes.values()) {
    const exited = supervisor.monitor.exit(process.exitFd, join(process.directory, "exit"));
    process.done = followExit(supervisor, container, process, exited);
  }
  void init.done.finally(oom.end);
}

/** Whether a container that has a process was started, or only created when its daemon died. Reports the start if that could not be done. */
async function wasStarted(supervisor: Supervisor, container: Container, init: Process): Promise<boolean> {
  const created = statSync(join(init.directory, "process.json"), { bigint: true }).mtimeNs;
  const reported = supervisor.events.hasStart(container.id, created);
  if (reported) return true;
  if (init.exitStatus() === undefined && (await container.runtime.status(container.id)) === "created") return false;
  if (reported === false) supervisor.emit({ type: "start-container", id: container.id });
  return true;
}
