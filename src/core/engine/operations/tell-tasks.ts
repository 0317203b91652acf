import { INIT } from "../../tasks/process.js";
import type { TaskEvent } from "../../tasks/task-event.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";

/** Tells what happens to a container. */
export function tell(
  engine: Engine,
  { namespace, id, name, labels, image }: EngineContainer,
  action: string,
  attributes: Record<string, string> = {},
): void {
  const all = { ...(image !== "" && { image }), ...attributes };
  engine.events.tell(namespace, id, { type: "container", action, name, labels, attributes: all });
}

/**
 * Tells what happens to tasks of the engine's containers, and what has happened while no daemon was there, once these are known.
 * @param restored resolves then
 */
export function tellTasks(engine: Engine, restored: Promise<void>): void {
  let waiting: TaskEvent[] | undefined = [];
  engine.tasks.bus.listen((event) => {
    if (event.namespace === "" || !ACTIONS.has(event.topic)) return;
    if (waiting !== undefined) waiting.push(event as TaskEvent);
    else tellTask(engine, event as TaskEvent);
  });
  void restored.then(() => {
    for (const event of waiting ?? []) tellTask(engine, event);
    waiting = undefined;
  });
}

const ACTIONS = new Set<string>([
  "/tasks/start",
  "/tasks/exit",
  "/tasks/oom",
  "/tasks/paused",
  "/tasks/resumed",
  "/tasks/exec-added",
  "/tasks/exec-started",
  "/tasks/checkpointed",
] satisfies TaskEvent["topic"][]);

function tellTask(engine: Engine, { namespace, object, topic, payload }: TaskEvent): void {
  const container = engine.index.get(namespace, object);
  if (container === undefined) return;
  const exec = "process" in payload && payload.process !== INIT ? payload.process : "";
  const done = (action: string, attributes?: Record<string, string>) => tell(engine, container, action, attributes);
  switch (topic) {
    case "/tasks/start":
      done("start", { pid: String(payload.pid) });
      break;
    case "/tasks/exit": {
      const status = String(payload.status);
      if (exec === "") done("die", { status });
      else done("exec-die", { exec, status });
      break;
    }
    case "/tasks/exec-added":
      done("exec-create", { exec });
      break;
    case "/tasks/exec-started":
      done("exec-start", { exec });
      break;
    case "/tasks/oom":
      done("oom");
      break;
    case "/tasks/paused":
      done("pause");
      break;
    case "/tasks/resumed":
      done("resume");
      break;
    case "/tasks/checkpointed":
      done("checkpoint", { path: payload.path });
      break;
  }
}
