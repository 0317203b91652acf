import { upperOf } from "../../../system/mount/overlay.js";
import { Failure } from "../../failure/failure.js";
import type { Stdio } from "../../tasks/process.js";
import type { NetworkMode } from "../container-config.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import type { CopyEnd } from "../files/container-files.js";
import { type KeptContainer, keptOf } from "../kept-container.js";
import { madeBy, make, planFor, runMade, runPlanned, writeDown } from "./create.js";
import { holdStill } from "./hold-still.js";
import { requireThere } from "./remove.js";
import { type CreateRequest, checkRequest, type ForkOf, fingerprint } from "./requests.js";
import { statusOf } from "./running.js";

export type ForkRequest = Omit<CreateRequest, "config" | "fork"> & { fork: ForkOf };

/**
 * Makes a container with another one's config over a copy of its layer. That one, if it runs, is paused meanwhile.
 * The same request for an id that is there answers with that one.
 * @param stdio with it the new one is started, too; undefined: it does not run yet
 * @param signal ends the attempt
 * @throws Failure: not-found, already-exists for its id or name, failed-precondition for a source without a layer of its own, or whose
 * image is another one by now; nothing is left then
 */
export async function fork(
  engine: Engine,
  wanted: ForkRequest,
  stdio: Stdio | undefined,
  signal: AbortSignal,
): Promise<EngineContainer> {
  const { namespace } = wanted;
  const before = await madeBy(engine, wanted, fingerprint(wanted));
  if (before !== undefined) {
    if (stdio !== undefined) await runMade(engine, before, stdio, signal);
    return before;
  }
  const source = await engine.find(namespace, wanted.fork.of, signal);
  const kept = keptOf(await engine.containers.getBrief(namespace, source.id))!;
  if (!kept.config.writable)
    throw refused(source, "has no layer of its own that could be forked: make it with writable: true");
  const labels = Object.keys(wanted.fork.labels).length > 0 ? wanted.fork.labels : kept.config.labels;
  const request: CreateRequest = {
    ...wanted,
    config: { ...kept.config, network: withoutAddresses(kept.config), labels: { ...labels } },
  };
  checkRequest(request);
  return await make(engine, request, async (container) => {
    const planned = await planFor(engine, container, request, stdio !== undefined, signal);
    if (planned.kept.imageDigest !== kept.imageDigest) {
      const why = `was made of ${kept.imageDigest}, and its image ${JSON.stringify(kept.config.image)} is another one by now`;
      throw refused(source, why);
    }
    // What a kill leaves of that is no container, and no snapshot: the next daemon removes it.
    const directory = await engine.snapshots.makeFilling();
    try {
      const target = { directory, idMaps: planned.kept.idMaps };
      // Nobody starts or removes the source meanwhile.
      await engine.inTurn(source, () => copyLayer(engine, source, kept, target, signal));
      if (stdio !== undefined) {
        await runPlanned(engine, container, planned, stdio, signal, directory);
        return;
      }
      const { written, mounts } = writeDown(engine, container, planned, directory);
      for (const done of await Promise.allSettled([written, mounts])) if (done.status === "rejected") throw done.reason;
    } finally {
      await engine.snapshots.removeFilling(directory);
    }
  });
}

/** Those that the other one was given are its own. */
function withoutAddresses({ network }: KeptContainer["config"]): NetworkMode {
  if (network.mode !== "attached") return network;
  const none = { address: "", address6: "", mac: "" };
  return { mode: "attached", networks: network.networks.map((attachment) => ({ ...attachment, ...none })) };
}

async function copyLayer(
  engine: Engine,
  source: EngineContainer,
  kept: KeptContainer,
  target: CopyEnd,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  requireThere(source);
  const from = await layerOf(engine, source, kept);
  const release = await holdStill(engine, source, signal);
  try {
    await engine.files.copy(`${source.namespace}/${source.id}`, from, target, signal);
    if (statusOf(engine, source) === "running") throw refused(source, "was resumed while it was copied");
  } finally {
    await release();
  }
}

async function layerOf(
  engine: Engine,
  { namespace, id }: EngineContainer,
  { idMaps }: KeptContainer,
): Promise<CopyEnd> {
  const [mount] = await engine.snapshots.mounts(namespace, id);
  return { directory: upperOf(mount!) ?? mount!.source, idMaps };
}

function refused({ id }: EngineContainer, why: string): Failure {
  return new Failure("failed-precondition", "refused", { why: `container ${JSON.stringify(id)} ${why}` });
}
