import { Metadata, status } from "@grpc/grpc-js";
import type { Engine } from "../../core/engine/engine.js";
import { type EngineServer, EngineService } from "../../proto/containerdts/engine/v1/engine.js";
import type { GrpcService } from "../grpc/server.js";
import { containerCalls } from "./containers.js";
import { execCalls } from "./execs.js";
import { fileCalls } from "./files.js";
import { EngineFront } from "./front.js";
import { logCalls } from "./logs.js";

/**
 * The engine's service.
 * @param ready resolves once the tasks of an earlier daemon are known
 */
export function engineService(engine: Engine, ready: Promise<void>): GrpcService {
  const front = new EngineFront(engine, ready);
  const implementation = {
    ...unimplemented(),
    ...containerCalls(front, engine),
    ...execCalls(front, engine),
    ...fileCalls(front, engine),
    ...logCalls(front, engine),
  } as unknown as EngineServer;
  return { definition: EngineService, implementation };
}

/** What is not served yet. */
function unimplemented(): Record<string, unknown> {
  type Refused = { emit(event: "error", error: object): void };
  const refuse = (path: string) => (call: Refused, respond?: (error: object) => void) => {
    const details = `this version of the daemon does not have ${path} yet`;
    const error = { code: status.UNIMPLEMENTED, details, metadata: new Metadata() };
    if (respond === undefined) call.emit("error", error);
    else respond(error);
  };
  return Object.fromEntries(Object.entries(EngineService).map(([name, { path }]) => [name, refuse(path)]));
}
