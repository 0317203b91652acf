import type { handleUnaryCall } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { ERROR_KIND } from "../../contract/error-kind-trailer.js";
import type { Engine } from "../../core/engine/engine.js";
import type { EngineContainer } from "../../core/engine/engine-container.js";
import { checkNamespace } from "../../core/engine/operations/requests.js";
import { Failure, refusal } from "../../core/failure/failure.js";
import { errorText } from "../../system/linux/libc.js";
import type { Call } from "../grpc/call.js";
import { type Front, unary } from "../grpc/handlers.js";
import { errorKind } from "./error-kind.js";

/** A call about the containers of one namespace. */
export interface EngineCall<Request> extends Call<Request> {
  readonly namespace: string;
}

/** Of calls that name none. */
const DEFAULT_NAMESPACE = "default";

/** Makes the handlers of the engine's service. */
export class EngineFront implements Front {
  readonly log: Logger;
  readonly #engine: Engine;
  readonly #ready: Promise<void>;

  /** @param ready resolves once the tasks of an earlier daemon are known: before that any answer could be wrong */
  constructor(engine: Engine, ready: Promise<void>) {
    this.log = engine.log;
    this.#engine = engine;
    this.#ready = ready;
  }

  words(error: unknown): string {
    return error instanceof Failure ? error.message : errorText(error);
  }

  trailers(error: unknown): Readonly<Record<string, string>> {
    return { [ERROR_KIND]: errorKind(error) };
  }

  call<Request extends object, Response>(
    handle: (call: EngineCall<Request>) => Response | Promise<Response>,
  ): handleUnaryCall<Request, Response> {
    return unary(this, async (call: Call<Request>) => handle(await this.ready(call)));
  }

  /** About one container, which the request names. */
  about<Request extends { id: string }, Response>(
    handle: (container: EngineContainer, call: EngineCall<Request>) => Response | Promise<Response>,
  ): handleUnaryCall<Request, Response> {
    return this.call(async (call: EngineCall<Request>) =>
      handle(await this.#engine.find(call.namespace, call.request.id, call.signal), call),
    );
  }

  /** A call once it can be answered. @throws Failure for what can't be answered at all */
  async ready<Request extends object>(call: Call<Request>): Promise<EngineCall<Request>> {
    const namespace = call.metadata.namespace || DEFAULT_NAMESPACE;
    checkNamespace(namespace);
    checkTexts(call.request);
    await this.#ready;
    await this.#engine.restore();
    call.signal.throwIfAborted();
    return Object.assign(call, { namespace });
  }
}

/** No text that the kernel gets may have a NUL in it. */
function checkTexts(value: unknown): void {
  if (typeof value === "string") {
    if (value.includes("\0")) throw refusal(`${JSON.stringify(value.slice(0, 100))} has a NUL in it`);
  } else if (typeof value === "object" && value !== null && !Buffer.isBuffer(value)) {
    for (const [key, part] of Object.entries(value)) {
      checkTexts(key);
      checkTexts(part);
    }
  }
}
