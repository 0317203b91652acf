import { secondsAndNanos } from "../../contract/go/rfc3339.js";
import type { Engine } from "../../core/engine/engine.js";
import type * as core from "../../core/volumes/volume-record.js";
import { type Volume, type VolumesServer, VolumesService } from "../../proto/containerdts/engine/v1/volumes.js";
import type { GrpcService } from "../grpc/server.js";
import { EngineFront } from "./front.js";

/**
 * The service of volumes.
 * @param ready resolves once the tasks of an earlier daemon are known
 */
export function volumesService(engine: Engine, ready: Promise<void>): GrpcService {
  const front = new EngineFront(engine, ready);
  const { volumes } = engine;
  const implementation: VolumesServer = {
    create: front.call(async ({ namespace, request: { name, labels } }) => {
      engine.mark();
      const volume = await volumes.create(namespace, { name, labels });
      return volumeMessage(volume);
    }),
    get: front.call(async ({ namespace, request: { name, size } }) =>
      volumeMessage(await volumes.get({ namespace, name }, size)),
    ),
    list: front.call(async ({ namespace, request: { labels, used } }) => ({
      volumes: (await volumes.list(namespace, { labels, isUsed: used })).map(volumeMessage),
    })),
    remove: front.call(async ({ namespace, request: { name } }) => {
      await volumes.remove({ namespace, name });
      return {};
    }),
    prune: front.call(async ({ namespace, request: { labels, all }, signal }) => {
      const { names, freed } = await volumes.prune(namespace, { labels, all }, signal);
      return { names, freed: BigInt(freed) };
    }),
  };
  return { definition: VolumesService, implementation };
}

function volumeMessage(volume: core.Volume): Volume {
  const { name, labels, isAnonymous: anonymous, path, createdAt, containers, size } = volume;
  return {
    ...{ name, labels, anonymous, path, containers },
    createdAt: secondsAndNanos(createdAt),
    size: size === undefined ? undefined : BigInt(size),
  };
}
