import { abortable } from "../../failure/abortable.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import type { ContainerExit } from "../kept-container.js";
import { requireThere } from "./remove.js";

/**
 * Waits until a container's own process has ended; one that was never started is waited for until it has been.
 * @param signal ends the wait
 * @throws Failure: not-found when it is removed without having run, unavailable when the daemon stops; the signal's reason
 */
export async function wait(engine: Engine, container: EngineContainer, signal: AbortSignal): Promise<ContainerExit> {
  while (container.exit === undefined) {
    requireThere(container);
    let leave = () => {};
    const told = new Promise<void>((resolve) => {
      leave = container.onceTold(resolve);
    });
    await abortable(told, signal, engine.tasks.stopping).finally(leave);
  }
  return container.exit;
}
