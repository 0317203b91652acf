import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { errorText } from "../../../system/linux/libc.js";
import { type ContainerDirectory, readContainerDirectory } from "../state-directory/ownership.js";
import { isPartial, removeTree } from "../state-directory/partial-directory.js";
import type { Supervisor } from "../supervisor.js";
import { restoreContainer } from "./restore-container.js";

/** In ms: how long containers are looked at before others get their turn. */
const SLICE = 4;

/**
 * Takes over all containers that the state directory holds. What is not recognisably ours is left alone. Resolves when all are known that need nobody to be
 * asked; the others go on in {@link Supervisor.restoring}, each for itself.
 */
export async function restore(supervisor: Supervisor): Promise<void> {
  const began = performance.now();
  const foreign: string[] = [];
  let sliceEnd = began + SLICE;
  const { dev } = lstatSync(supervisor.stateDir);
  for (const entry of readdirSync(supervisor.stateDir, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const { name } = entry;
    try {
      const directory = join(supervisor.stateDir, name);
      const found = isPartial(name) ? undefined : readContainerDirectory(directory, dev);
      if (found !== undefined) begin(supervisor, name, found);
      else if (isPartial(name)) supervisor.removals.now(directory, () => removeTree(directory));
      else foreign.push(name);
    } catch (error) {
      supervisor.log.error({ id: name, error: errorText(error) }, "containerd: restore container");
    }
    if (performance.now() > sliceEnd) {
      await setImmediate();
      sliceEnd = performance.now() + SLICE;
    }
  }
  if (foreign.length > 0) {
    supervisor.log.warn(
      { stateDir: supervisor.stateDir, directories: foreign },
      "containerd: directories in the state directory that are no containers of this daemon; leaving them alone",
    );
  }
  // Those that need nobody are through by then.
  await setImmediate();
  supervisor.log.info(
    {
      containers: supervisor.containers.size,
      underWay: supervisor.restoring.size,
      duration: Math.round(performance.now() - began),
    },
    "containerd: containers restored",
  );
}

function begin(supervisor: Supervisor, id: string, found: ContainerDirectory): void {
  const restored = supervisor.operations
    .run({ kind: "restore", id }, (operation) => restoreContainer(supervisor, id, found, operation))
    .catch((error: unknown) => {
      supervisor.log.error({ id, error: errorText(error) }, "containerd: restore container");
    })
    .finally(() => supervisor.restoring.delete(id));
  supervisor.restoring.set(id, restored);
}
