import { UNKNOWN_STATUS } from "../../../contract/shim/exit-status.js";
import { bootId } from "../../../system/linux/boot-id.js";
import { bootTime, now } from "../../../system/linux/clock.js";
import { Failure } from "../../failure/failure.js";
import { logText } from "../../failure/log-text.js";
import { deleteStopped } from "../../tasks/operations/delete.js";
import { startOver } from "../../tasks/operations/start-exec.js";
import { isOwnerAlive } from "../../tasks/owner.js";
import type { Task } from "../../tasks/task.js";
import type { Engine } from "../engine.js";
import { EngineContainer } from "../engine-container.js";
import { isEnginesTask, type KeptContainer, keptOf } from "../kept-container.js";
import { afterBoot, ended, policyOf, started } from "../restarts.js";
import { timeToLive } from "../time-to-live.js";
import { follow, settleEnd } from "./ended.js";
import { watchExecs } from "./exec.js";
import { exitOf } from "./exit-of.js";
import { lastTimeToLive, watchTimeToLive } from "./expire.js";
import { letGo } from "./hold-still.js";
import { keep, restartsOf } from "./keeping.js";
import { killTask, removeRest } from "./remove.js";
import { watchRestart } from "./restart-policy.js";
import { statusOf } from "./running.js";

/** Takes over the containers of an earlier daemon, once its tasks are known. @throws Failure when the store can't be used */
export async function restoreContainers(engine: Engine): Promise<void> {
  const found: { container: EngineContainer; kept: KeptContainer }[] = [];
  for await (const { namespace, record } of engine.containers.all()) {
    const kept = keptOf(record);
    if (kept === undefined) continue;
    const container = new EngineContainer(namespace, record.id);
    const { name, owner, autoRemove, request, config } = kept;
    Object.assign(container, {
      name,
      owner,
      autoRemove,
      request,
      image: config.image,
      labels: config.labels,
      isMade: true,
      isTold: true,
    });
    container.hasLayer = record.snapshotKey !== "";
    container.isOfRun = kept.starting?.by === "run";
    container.policy = policyOf(config);
    container.check = kept.check;
    container.restarts = kept.restarts ?? container.restarts;
    engine.index.add(container);
    if (kept.idMaps !== undefined && config.userns.mode === "auto") {
      container.idMaps = kept.idMaps;
      engine.idRanges.keep(kept.idMaps);
    }
    engine.volumes.keep(container, kept.volumes ?? []);
    found.push({ container, kept });
  }
  await engine.volumes.restore((namespace, id) => engine.index.get(namespace, id) !== undefined);
  await restoreLogs(engine);
  await engine.tasks.runDirectory.open();
  await engine.networks.recall(found, (container) => engine.taskOf(container) !== undefined);
  // Each for itself: one that can't be taken over does not hold up the others.
  await Promise.all(
    found.map(({ container, kept }) => attempt(engine, container, () => restoreOne(engine, container, kept))),
  );
  await removeUnknownTasks(engine);
  await engine.networks.restore((container) => {
    const status = statusOf(engine, container);
    return status === "running" || status === "paused" ? engine.taskOf(container)!.init : undefined;
  });
  for (const { container, kept } of found)
    if (kept.attached?.connecting !== undefined || kept.attached?.isRerouting)
      await attempt(engine, container, () => keepAttached(engine, container));
  // No runtime of the earlier daemon makes a container any more.
  await attempt(engine, { id: "" }, () => engine.mappedVolumes.clear());
}

/** What was half done on its networks is whole by now. */
async function keepAttached(engine: Engine, container: EngineContainer): Promise<void> {
  await engine.inTurn(container, async () => {
    const attached = engine.networks.placeOf(container)?.attached;
    if (container.isGone || attached === undefined) return;
    const kept = keptOf(await engine.containers.getBrief(container.namespace, container.id))!;
    await keep(engine, container, { ...kept, attached });
  });
}

/** Logs without a container are what a kill has left. */
async function restoreLogs(engine: Engine): Promise<void> {
  for (const place of await engine.logs.all()) {
    const container = engine.index.get(place.namespace, place.id);
    if (container !== undefined) container.hasLog = true;
    else await attempt(engine, place, () => engine.logs.remove(place));
  }
}

async function restoreOne(engine: Engine, container: EngineContainer, found: KeptContainer): Promise<void> {
  const { tasks } = engine;
  const kept = await withTimeToLive(engine, container, found);
  await tasks.restored(container, new AbortController());
  const task = engine.taskOf(container);
  if (await isLeftOver(engine, container, kept, task)) {
    if (container.autoRemove && (kept.startedAt ?? kept.exit) !== undefined) engine.index.keepEnded(container);
    if (task !== undefined) await endTask(task);
    if (container.isExpired && task !== undefined) container.exit = { ...exitOf(task), expired: true };
    await removeRest(engine, container);
    return;
  }
  watchTimeToLive(engine, container, kept.ttl);
  const hasBegun = task !== undefined && (task.status !== "created" || task.init!.isStarting);
  if (kept.starting !== undefined && hasBegun)
    container.restarts = started(kept.starting.by === "policy" ? kept.restarts : undefined, bootTime());
  if (task === undefined) await restoreWithoutTask(engine, container, kept);
  else if (task.status === "created" && !task.init!.isStarting) {
    // Its start had not begun.
    await engine.networks.leave(container);
    await deleteStopped(tasks, container);
    await keep(engine, container, { ...notStarted(kept), attached: undefined });
    watchRestart(engine, container);
  } else if (task.init!.status === "stopped") {
    await engine.inTurn(container, () => settleEnd(engine, container, task));
  } else {
    follow(engine, container, task, true);
    watchExecs(engine, task);
    await letGo(engine, container);
    if (kept.starting !== undefined && container.owner === undefined)
      await keep(engine, container, {
        ...{ ...kept, starting: undefined, startedAt: now(), exit: undefined },
        ...restartsOf(container),
      });
  }
  if (!container.isGone) engine.owners.add(container);
}

/** Of one whose start had not begun. */
function notStarted(kept: KeptContainer): KeptContainer {
  const { starting, ...rest } = kept;
  return starting === undefined || starting.by === "policy" ? rest : { ...rest, startId: undefined };
}

/** The machine may have been started anew: then the time to live is. */
async function withTimeToLive(
  engine: Engine,
  container: EngineContainer,
  recorded: KeptContainer,
): Promise<KeptContainer> {
  const kept = { ...recorded, ttl: lastTimeToLive(engine, container, recorded.ttl) };
  if (kept.ttl?.endsAt !== recorded.ttl?.endsAt) await keep(engine, container, kept);
  if (kept.ttl === undefined) return kept;
  if (kept.ttl.bootId === bootId()) {
    container.isExpired = kept.ttl.endsAt <= bootTime();
    return kept;
  }
  const renewed = { ...kept, ttl: timeToLive(kept.ttl.ms) };
  await keep(engine, container, renewed);
  return renewed;
}

/** Whether it was not to stay: its owner has gone, its removal had begun, or nobody was ever told that it is there. */
async function isLeftOver(
  engine: Engine,
  container: EngineContainer,
  { owner, starting, autoRemove, exit, startedAt, isFilling }: KeptContainer,
  task: Task | undefined,
): Promise<boolean> {
  if (container.isExpired) return true;
  if (owner !== undefined && !isOwnerAlive(owner)) return true;
  if (isFilling) return true;
  if (container.hasLayer && !(await hasSnapshot(engine, container))) return true;
  const isOfThisBoot = starting?.bootId === bootId();
  if (starting?.by === "run" && isOfThisBoot) {
    if (task === undefined) return true;
    if (task.status === "created" && !task.init!.isStarting) return true;
  }
  // It has run, and nobody has asked for its end in time.
  const hasRun = startedAt !== undefined || exit !== undefined || (starting !== undefined && !isOfThisBoot);
  return autoRemove && task === undefined && hasRun;
}

async function hasSnapshot(engine: Engine, { namespace, id }: EngineContainer): Promise<boolean> {
  try {
    await engine.snapshots.stat(namespace, id);
    return true;
  } catch (error) {
    if (error instanceof Failure && error.kind === "not-found") return false;
    throw error;
  }
}

/** It does not run: it never has, its end is known, or both have been lost, with the boot that it ran in as a rule. */
async function restoreWithoutTask(engine: Engine, container: EngineContainer, kept: KeptContainer): Promise<void> {
  const { starting, exit, startedAt } = kept;
  const wasRunning =
    exit === undefined && (startedAt !== undefined || (starting !== undefined && starting.bootId !== bootId()));
  const { policy, restarts } = container;
  const isOfEarlierBoot = (kept.restarts ?? starting)?.bootId !== bootId();
  if (wasRunning) {
    const error = "its end was not seen: the machine was started anew, or what was known of it is lost";
    const lost = { status: UNKNOWN_STATUS, at: now(), oomKilled: false, timedOut: false, error };
    container.exit = lost;
    container.restarts = isOfEarlierBoot
      ? afterBoot(policy, restarts, true, bootTime())
      : ended(policy, restarts, lost, bootTime());
    await keep(engine, container, {
      ...kept,
      starting: undefined,
      exit: lost,
      attached: undefined,
      ...restartsOf(container),
    });
  } else {
    container.exit = exit;
    const isRenewed = kept.restarts !== undefined && isOfEarlierBoot;
    if (isRenewed) container.restarts = afterBoot(policy, restarts, false, bootTime());
    if (starting !== undefined || isRenewed)
      await keep(engine, container, { ...notStarted(kept), attached: undefined, ...restartsOf(container) });
  }
  watchRestart(engine, container);
}

/** Has a task ended, unless it never began. */
async function endTask(task: Task): Promise<void> {
  const init = task.init!;
  if (init.status === "running" || init.isStarting) await killTask(task);
  await startOver(init);
}

/** A kill has left them: their records were not written yet, or gone already. */
async function removeUnknownTasks(engine: Engine): Promise<void> {
  const { tasks } = engine;
  await Promise.all(
    tasks.list().map(async (task) => {
      const { namespace, id } = task;
      if (!isEnginesTask(task) || engine.index.get(namespace, id) !== undefined) return;
      await attempt(engine, task, async () => {
        await endTask(task);
        await deleteStopped(tasks, task);
      });
    }),
  );
}

async function attempt(engine: Engine, { id }: { id: string }, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    engine.log.error({ id, error: logText(error) }, "containerd: take over a container");
  }
}
