import { existsSync, lstatSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { requireDescriptors } from "../../../system/linux/reserved-descriptors.js";
import { Slices } from "../../scheduling/slices.js";
import type { Operation } from "../../telemetry/operations.js";
import type { TaskName } from "../history.js";
import { removeWithMounts } from "../rootfs.js";
import { type ContainerDirectory, readContainerDirectory } from "../state-directory/ownership.js";
import { isPartial, removeTree } from "../state-directory/partial-directory.js";
import { mountPointsIn } from "../task.js";
import type { Tasks } from "../tasks.js";
import { keepTrying } from "./keep-trying.js";
import { restoreContainer } from "./restore-container.js";

/**
 * How many descriptors have to be free before a container is taken over: it needs half of them, and clients who can do something about it
 * have to be able to connect.
 */
const ROOM = 12;

/**
 * Takes over all tasks of containerd 0.2's API, and leaves everything else in the state directory alone. Resolves when those are known for
 * which no other program has to be asked; the others go on in {@link Tasks.restoring}, independently of each other.
 */
export async function restore(tasks: Tasks): Promise<void> {
  const began = performance.now();
  await restoreIn(tasks, tasks.stateDir, "");
  await told(tasks, began);
}

/** As {@link restore}, the tasks of namespaces. */
export async function restoreNamespaces(tasks: Tasks): Promise<void> {
  const began = performance.now();
  const directory = tasks.runDirectory.tasks;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) await restoreIn(tasks, join(directory, entry.name), entry.name);
  }
  await told(tasks, began);
}

async function told(tasks: Tasks, began: number): Promise<void> {
  // By then those are restored that wait for no other program.
  await setImmediate();
  tasks.log.info(
    {
      containers: tasks.list().length,
      underWay: tasks.restoring.size,
      duration: Math.round(performance.now() - began),
    },
    "containerd: containers restored",
  );
}

/** Takes over what is in a directory with a directory for each task. */
async function restoreIn(tasks: Tasks, parent: string, namespace: string): Promise<void> {
  const foreign: string[] = [];
  const slices = new Slices();
  const { dev } = lstatSync(parent);
  for (const entry of readdirSync(parent, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const { name: id } = entry;
    const directory = join(parent, id);
    if (isPartial(id)) {
      tasks.removals.now(directory, () => removeWithMounts(mountPointsIn(directory), () => removeTree(directory)));
    } else {
      const name = { namespace, id };
      try {
        const found = look(directory, dev);
        if (found !== undefined) begin(tasks, name, dev, found);
        else foreign.push(id);
      } catch {
        begin(tasks, name, dev);
      }
    }
    await slices.next();
  }
  if (foreign.length > 0) leaveAlone(tasks, parent, foreign);
}

/** As {@link readContainerDirectory}; throws a system error rather than to take what can't be read for what is not there. */
function look(directory: string, device: number): ContainerDirectory | undefined {
  requireDescriptors(ROOM);
  return readContainerDirectory(directory, device);
}

function leaveAlone({ log }: Tasks, stateDir: string, directories: string[]): void {
  log.warn(
    { stateDir, directories },
    "containerd: directories in the state directory that are no containers of this daemon; leaving them alone",
  );
}

/**
 * Takes over a container, again until it succeeds: a full disk, say, may pass. Until then the container is not listed, but its id is taken.
 * @param found what the directory holds; for the first attempt only
 */
function begin(tasks: Tasks, name: TaskName, device: number, found?: ContainerDirectory): void {
  const { id } = name;
  let known = found;
  void keepTrying(tasks.log, { id }, "containerd: restore container", async () => {
    const attempt = tasks.operations.run({ kind: "restore", id }, (operation) =>
      takeOver(tasks, name, device, known, operation),
    );
    known = undefined;
    // Calls about it wait for this attempt, and no longer.
    const over = attempt
      .catch(() => {})
      .then(() => {
        tasks.restoring.delete(name);
      });
    tasks.restoring.set(name, over);
    await attempt;
  });
}

async function takeOver(
  tasks: Tasks,
  name: TaskName,
  device: number,
  known: ContainerDirectory | undefined,
  operation: Operation,
): Promise<void> {
  const directory = tasks.directoryOf(name);
  if (known === undefined && !existsSync(directory)) return;
  const found = known ?? look(directory, device);
  if (found === undefined) leaveAlone(tasks, dirname(directory), [name.id]);
  else await restoreContainer(tasks, name, found, operation);
}
