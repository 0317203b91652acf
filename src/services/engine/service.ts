import type { Engine } from "../../core/engine/engine.js";
import { type EngineServer, EngineService } from "../../proto/containerdts/engine/v1/engine.js";
import type { GrpcService } from "../grpc/server.js";
import { containerCalls } from "./containers.js";
import { eventCalls } from "./events.js";
import { execCalls } from "./execs.js";
import { fileCalls } from "./files.js";
import { EngineFront } from "./front.js";
import { logCalls } from "./logs.js";
import { unimplemented } from "./unimplemented.js";

/**
 * The engine's service.
 * @param ready resolves once the tasks of an earlier daemon are known
 */
export function engineService(engine: Engine, ready: Promise<void>): GrpcService {
  const front = new EngineFront(engine, ready);
  const implementation = {
    ...unimplemented(EngineService),
    ...containerCalls(front, engine),
    ...execCalls(front, engine),
    ...fileCalls(front, engine),
    ...logCalls(front, engine),
    ...eventCalls(front, engine),
  } as unknown as EngineServer;
  return { definition: EngineService, implementation };
}
