import { bootTime } from "../../../system/linux/clock.js";
import { Failure, refusal } from "../../failure/failure.js";
import { deleteStopped } from "../../tasks/operations/delete.js";
import type { Process, Stdio } from "../../tasks/process.js";
import { placeOf } from "../checkpoints.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { type KeptContainer, keptOf, type Starting } from "../kept-container.js";
import type { ResolvedImage } from "../resolved-images.js";
import { started } from "../restarts.js";
import { prepareHost } from "../spec/host-facts.js";
import { settleEnd } from "./ended.js";
import { keep, keepStarted, starting } from "./keeping.js";
import { launch } from "./launch.js";
import { exposedPortsOf, filesOf, LAYERS_LABEL, rootOf, specOf } from "./plan.js";
import { requireThere } from "./remove.js";
import { watchRestart } from "./restart-policy.js";
import { wholeEnd } from "./running.js";

export interface StartRequest {
  stdio: Stdio;
  /** Chosen by the caller: the same again is the same start, also when what it has started has ended. "" is none. */
  startId: string;
  /** A checkpoint that it begins with, by its name or the path of its directory; "": from the beginning. */
  checkpoint: string;
}

/**
 * Has a container run that does not. One that runs with the same streams answers as it did when it was started.
 * @param signal ends the attempt
 * @returns undefined when the very same start has been answered before, and what it started has ended
 * @throws Failure: invalid-argument, not-found, failed-precondition when it runs with other streams; it is as it was then
 */
export function start(
  engine: Engine,
  container: EngineContainer,
  request: StartRequest,
  signal: AbortSignal,
): Promise<Process | undefined> {
  return engine.inTurn(container, () => startInTurn(engine, container, request, signal));
}

/** In characters. */
const LONGEST_START_ID = 128;

/** As {@link start}, for who has the turn. */
export async function startInTurn(
  engine: Engine,
  container: EngineContainer,
  { stdio, startId, checkpoint }: StartRequest,
  signal: AbortSignal,
  by: Exclude<Starting["by"], "run"> = "start",
): Promise<Process | undefined> {
  const { namespace, id } = container;
  if (startId.length > LONGEST_START_ID)
    throw refusal(
      `start_id ${JSON.stringify(startId.slice(0, LONGEST_START_ID))}…: at most ${LONGEST_START_ID} characters`,
    );
  const from = checkpoint === "" ? undefined : placeOf(engine, container, checkpoint);
  signal.throwIfAborted();
  requireThere(container);
  const task = engine.taskOf(container);
  if (task !== undefined && task.status !== "stopped") {
    const init = task.init!;
    const { stdin, stdout, stderr } = init.stdio;
    if (stdin === stdio.stdin && stdout === stdio.stdout && stderr === stdio.stderr) return init;
    const why = `container ${JSON.stringify(id)} is ${task.status} already, with other streams`;
    throw new Failure("failed-precondition", "refused", { why });
  }
  if (startId !== "" && (task ?? container.exit) !== undefined) {
    const last = keptOf(await engine.containers.getBrief(namespace, id))!;
    if (last.startId === startId) return undefined;
  }
  if (task !== undefined) {
    await wholeEnd(task);
    // A daemon that finds neither task nor end takes it for one that is lost.
    await (container.owner === undefined ? settleEnd(engine, container, task) : deleteStopped(engine.tasks, container));
    requireThere(container);
  }
  const record = await engine.containers.get(namespace, id);
  const { attached: _, ...before } = keptOf(record)!;
  const { config } = before;
  const ofPorts =
    config.publishAll && config.image !== "" ? await sameImage(engine, container, before, signal) : undefined;
  const attached = await engine.networks.take(container, config, exposedPortsOf(config, ofPorts));
  const kept: KeptContainer = {
    ...starting(before, by),
    ...(by === "start" && { startId }),
    ...(attached && { attached }),
  };
  container.isOfRun = false;
  if (by === "start") container.stopRestart();
  container.lastSignal = 0;
  const { exit } = container;
  // Who waits from here on waits for the end of this run.
  container.exit = undefined;
  const written = keep(engine, container, kept);
  written.catch(() => {});
  try {
    const mounts = container.hasLayer ? await engine.snapshots.mounts(namespace, id) : undefined;
    const image = config.image === "" ? undefined : await sameImage(engine, container, before, signal);
    const hostFacts = await prepareHost(config, { systemdCgroup: engine.systemdCgroup, signal });
    // Without its image what was made of it when it was there goes on to hold.
    const { spec, fill } =
      config.image === "" || image !== undefined
        ? await specOf(engine, container, before, image, hostFacts, signal)
        : { spec: record.spec!.value, fill: await filesOf(engine, container, config, hostFacts, signal) };
    const chainId = record.labels[LAYERS_LABEL] ?? image?.chainId ?? "";
    const root = await rootOf(engine, container, kept, chainId, mounts, signal);
    const init = await launch(engine, { container, kept, spec, root, fill, stdio, checkpoint: from, written }, signal);
    await keepStarted(engine, container, started(by === "policy" ? container.restarts : undefined, bootTime()));
    return init;
  } catch (error) {
    container.exit = exit;
    container.tell();
    if (by === "start") watchRestart(engine, container);
    await Promise.all([keep(engine, container, before), engine.networks.leave(container)]);
    throw error;
  }
}

/** The image that a container was made of; undefined when it has gone, or its name is another's by now. */
async function sameImage(
  engine: Engine,
  { namespace }: EngineContainer,
  { config, imageDigest }: KeptContainer,
  signal: AbortSignal,
): Promise<ResolvedImage | undefined> {
  try {
    const image = await engine.images.resolve(namespace, config.image, signal);
    return image.digest === imageDigest ? image : undefined;
  } catch (error) {
    if (error instanceof Failure && error.kind === "not-found") return undefined;
    throw error;
  }
}
