import { existsSync, lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { requireDescriptors } from "../../../system/linux/reserved-descriptors.js";
import { Slices } from "../../scheduling/slices.js";
import type { Operation } from "../../telemetry/operations.js";
import { type ContainerDirectory, readContainerDirectory } from "../state-directory/ownership.js";
import { isPartial, removeTree } from "../state-directory/partial-directory.js";
import type { Tasks } from "../tasks.js";
import { keepTrying } from "./keep-trying.js";
import { restoreContainer } from "./restore-container.js";

/**
 * Takes over all containers in the state directory, and leaves everything else there alone. Resolves when those are known for which no
 * other program has to be asked; the others go on in {@link Tasks.restoring}, independently of each other.
 */
export async function restore(tasks: Tasks): Promise<void> {
  const began = performance.now();
  const foreign: string[] = [];
  const slices = new Slices();
  const { dev } = lstatSync(tasks.stateDir);
  for (const entry of readdirSync(tasks.stateDir, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const { name } = entry;
    const directory = join(tasks.stateDir, name);
    if (isPartial(name)) tasks.removals.now(directory, () => removeTree(directory));
    else {
      try {
        const found = look(directory, dev);
        if (found !== undefined) begin(tasks, name, dev, found);
        else foreign.push(name);
      } catch {
        begin(tasks, name, dev);
      }
    }
    await slices.next();
  }
  if (foreign.length > 0) leaveAlone(tasks, foreign);
  // By then those are restored that wait for no other program.
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

/** As {@link readContainerDirectory}; throws a system error rather than to take what can't be read for what is not there. */
function look(directory: string, device: number): ContainerDirectory | undefined {
  requireDescriptors();
  return readContainerDirectory(directory, device);
}

function leaveAlone({ log, stateDir }: Tasks, directories: string[]): void {
  log.warn(
    { stateDir, directories },
    "containerd: directories in the state directory that are no containers of this daemon; leaving them alone",
  );
}

/**
 * Takes over a container, again until it succeeds: a full disk, say, may pass. Until then the container is not listed, but its id is taken.
 * @param found what the directory holds; for the first attempt only
 */
function begin(tasks: Tasks, id: string, device: number, found?: ContainerDirectory): void {
  let known = found;
  void keepTrying(tasks.log, { id }, "containerd: restore container", async () => {
    const attempt = tasks.operations.run({ kind: "restore", id }, (operation) =>
      takeOver(tasks, id, device, known, operation),
    );
    known = undefined;
    // Calls about it wait for this attempt, and no longer.
    const over = attempt
      .catch(() => {})
      .then(() => {
        tasks.restoring.delete(id);
      });
    tasks.restoring.set(id, over);
    await attempt;
  });
}

async function takeOver(
  tasks: Tasks,
  id: string,
  device: number,
  known: ContainerDirectory | undefined,
  operation: Operation,
): Promise<void> {
  const directory = join(tasks.stateDir, id);
  if (known === undefined && !existsSync(directory)) return;
  const found = known ?? look(directory, device);
  if (found === undefined) leaveAlone(tasks, [id]);
  else await restoreContainer(tasks, id, found, operation);
}
