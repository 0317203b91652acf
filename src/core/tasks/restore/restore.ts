import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { errorText } from "../../../system/linux/libc.js";
import { type ContainerDirectory, readContainerDirectory } from "../state-directory/ownership.js";
import { isPartial, removeTree } from "../state-directory/partial-directory.js";
import type { Tasks } from "../tasks.js";
import { restoreContainer } from "./restore-container.js";

/** In ms: how long containers are looked at before others get their turn. */
const SLICE = 4;

/**
 * Takes over all containers that the state directory holds. What is not recognisably ours is left alone. Resolves when all are known that need nobody to be
 * asked; the others go on in {@link Tasks.restoring}, each for itself.
 */
export async function restore(tasks: Tasks): Promise<void> {
  const began = performance.now();
  const foreign: string[] = [];
  let sliceEnd = began + SLICE;
  const { dev } = lstatSync(tasks.stateDir);
  for (const entry of readdirSync(tasks.stateDir, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const { name } = entry;
    try {
      const directory = join(tasks.stateDir, name);
      const found = isPartial(name) ? undefined : readContainerDirectory(directory, dev);
      if (found !== undefined) begin(tasks, name, found);
      else if (isPartial(name)) tasks.removals.now(directory, () => removeTree(directory));
      else foreign.push(name);
    } catch (error) {
      tasks.log.error({ id: name, error: errorText(error) }, "containerd: restore container");
    }
    if (performance.now() > sliceEnd) {
      await setImmediate();
      sliceEnd = performance.now() + SLICE;
    }
  }
  if (foreign.length > 0) {
    tasks.log.warn(
      { stateDir: tasks.stateDir, directories: foreign },
      "containerd: directories in the state directory that are no containers of this daemon; leaving them alone",
    );
  }
  // Those that need nobody are through by then.
  await setImmediate();
  tasks.log.info(
    {
      containers: tasks.allStarted().length,
      underWay: tasks.restoring.size,
      duration: Math.round(performance.now() - began),
    },
    "containerd: containers restored",
  );
}

function begin(tasks: Tasks, id: string, found: ContainerDirectory): void {
  const restored = tasks.operations
    .run({ kind: "restore", id }, (operation) => restoreContainer(tasks, id, found, operation))
    .catch((error: unknown) => {
      tasks.log.error({ id, error: errorText(error) }, "containerd: restore container");
    })
    .finally(() => tasks.restoring.delete(id));
  tasks.restoring.set(id, restored);
}
