import { bootTime } from "../../../system/linux/clock.js";
import type { Mount } from "../../../system/mount/mount.js";
import { Failure } from "../../failure/failure.js";
import { logText } from "../../failure/log-text.js";
import { idMappingLabels } from "../../snapshots/id-mapping.js";
import type { Stdio } from "../../tasks/process.js";
import type { Engine } from "../engine.js";
import { EngineContainer } from "../engine-container.js";
import { withKept } from "../kept-container.js";
import { policyOf, started } from "../restarts.js";
import { watchTimeToLive } from "./expire.js";
import { keepStarted, starting } from "./keeping.js";
import { launch } from "./launch.js";
import { needsSnapshot, type Plan, plan, rootOf } from "./plan.js";
import { removeRest } from "./remove.js";
import { type CreateRequest, checkRequest, fingerprint } from "./requests.js";
import { startInTurn } from "./start.js";
import { tell } from "./tell-tasks.js";

/**
 * Makes a container, which does not run yet. The same request for an id that is there answers with that one.
 * @param signal ends the attempt
 * @throws Failure: invalid-argument, not-found for its image, already-exists for its id or name; nothing is left then
 */
export async function create(engine: Engine, request: CreateRequest, signal: AbortSignal): Promise<EngineContainer> {
  const before = await madeBefore(engine, request);
  if (before !== undefined) return before;
  return await make(engine, request, async (container) => {
    const planned = await planFor(engine, container, request, false, signal);
    const { written, mounts } = writeDown(engine, container, planned);
    await Promise.all([written, mounts]);
  });
}

/**
 * As {@link create}, and has it run. A container that the same request has made, and that was never started, is started; one that was is
 * left as it is.
 * @throws as {@link create}, and what starting it throws; nothing is left then
 */
export async function run(
  engine: Engine,
  request: CreateRequest,
  stdio: Stdio,
  signal: AbortSignal,
): Promise<EngineContainer> {
  const before = await madeBefore(engine, request);
  if (before !== undefined) {
    await runMade(engine, before, stdio, signal);
    return before;
  }
  const { namespace, id } = request;
  // What has ended, and is gone with its end, does not run once more.
  if (request.autoRemove && engine.index.hasEnded(namespace, id, fingerprint(request)))
    return new EngineContainer(namespace, id);
  return await make(engine, request, async (container) => {
    const planned = await planFor(engine, container, request, true, signal);
    await runPlanned(engine, container, planned, stdio, signal);
  });
}

/** Has a container run that the same request has made before; one that was started already is left as it is. */
export function runMade(engine: Engine, container: EngineContainer, stdio: Stdio, signal: AbortSignal): Promise<void> {
  return engine.inTurn(container, async () => {
    if (engine.taskOf(container) !== undefined || container.exit !== undefined || container.isGone) return;
    await startInTurn(engine, container, { stdio, startId: "", checkpoint: "" }, signal);
  });
}

/**
 * Writes down a new container, and has it run.
 * @param filled as of {@link writeDown}
 */
export async function runPlanned(
  engine: Engine,
  container: EngineContainer,
  planned: Plan,
  stdio: Stdio,
  signal: AbortSignal,
  filled?: string,
): Promise<void> {
  const kept = starting(planned.kept, "run");
  container.isOfRun = true;
  const record = { ...planned.record, extensions: withKept({}, kept) };
  const { written, mounts } = writeDown(engine, container, { ...planned, record }, filled);
  const root = await rootOf(engine, container, kept, planned.image?.chainId ?? "", await mounts, signal);
  const spec = planned.record.spec!.value;
  await launch(engine, { container, kept, spec, root, fill: planned.fill, stdio, written }, signal);
  await keepStarted(engine, container, started(undefined, bootTime()));
}

async function madeBefore(engine: Engine, request: CreateRequest): Promise<EngineContainer | undefined> {
  checkRequest(request);
  return await madeBy(engine, request, fingerprint(request));
}

/** The container that the same request has made before. @throws Failure (already-exists) when another request has */
export async function madeBy(
  engine: Engine,
  { namespace, id }: Pick<CreateRequest, "namespace" | "id">,
  request: string,
): Promise<EngineContainer | undefined> {
  for (;;) {
    const found = engine.index.get(namespace, id);
    if (found === undefined) return undefined;
    try {
      await found.made;
    } catch {
      continue;
    }
    if (found.request !== request || found.isRemoving)
      throw new Failure("already-exists", "record-exists", { record: "container", name: id });
    return found;
  }
}

/**
 * @param work what is to be done for it
 * @throws what `work` throws; nothing is left then
 */
export async function make(
  engine: Engine,
  request: CreateRequest,
  work: (container: EngineContainer) => Promise<void>,
): Promise<EngineContainer> {
  const { namespace, id, name, config, owner, autoRemove } = request;
  const container = new EngineContainer(namespace, id);
  Object.assign(container, { name, image: config.image, labels: config.labels, owner, autoRemove });
  container.request = fingerprint(request);
  engine.mark();
  engine.index.add(container);
  const making = engine.inTurn(container, async () => {
    try {
      await work(container);
      container.isMade = true;
      engine.owners.add(container);
    } catch (error) {
      await removeRest(engine, container).catch((reason) => {
        engine.log.error({ id, error: logText(reason) }, "containerd: undo the creation of a container");
      });
      container.isGone = true;
      engine.index.remove(container);
      container.tell();
      throw error;
    }
  });
  container.made = making;
  // Whoever asks for it meanwhile waits for it, or nobody.
  making.catch(() => {});
  await making;
  return container;
}

/** As {@link plan}, of which the container takes note. */
export async function planFor(
  engine: Engine,
  container: EngineContainer,
  request: CreateRequest,
  isStarted: boolean,
  signal: AbortSignal,
): Promise<Plan> {
  const planned = await plan(engine, container, request, isStarted, signal);
  container.idMaps = request.config.userns.mode === "auto" ? planned.kept.idMaps : undefined;
  container.hasLayer = needsSnapshot(planned.kept);
  container.policy = policyOf(request.config);
  container.check = planned.kept.check;
  watchTimeToLive(engine, container, planned.kept.ttl);
  signal.throwIfAborted();
  return planned;
}

/**
 * Writes down a container, and makes its layer: one change on the disk.
 * @param filled a directory of the layer's files, which is moved
 */
export function writeDown(
  engine: Engine,
  container: EngineContainer,
  { record, image, kept }: Plan,
  filled?: string,
): { written: Promise<unknown>; mounts: Promise<Mount[] | undefined> } {
  const { namespace, id } = container;
  const written = engine.containers.create(namespace, record);
  container.isTold = true;
  tell(engine, container, "create");
  const { snapshots } = engine;
  const labels = kept.idMaps === undefined ? {} : idMappingLabels(kept.idMaps);
  const parent = image?.chainId ?? "";
  const mounts: Promise<Mount[] | undefined> = kept.config.writable
    ? snapshots.prepare(namespace, id, parent, labels, { filled })
    : needsSnapshot(kept)
      ? snapshots.view(namespace, id, parent, labels)
      : Promise.resolve(undefined);
  // Whoever waits for the one may have been told of the other.
  written.catch(() => {});
  mounts.catch(() => {});
  return { written, mounts };
}
