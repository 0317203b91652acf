import type { handleUnaryCall, ServerUnaryCall, sendUnaryData } from "@grpc/grpc-js";
import { OperationError } from "../runtime/operation-error.js";
import type { Supervisor } from "../supervisor/supervisor.js";
import { serviceError } from "./status.js";

/** What the calls of the API act on. */
export interface ApiContext {
  supervisor: Supervisor;
  /** Resolves once the containers of an earlier daemon are taken over: before that any answer could be wrong. */
  ready: Promise<void>;
}

/** A unary call: what it returns is the response, what it throws the status. `signal` is aborted when the caller cancels or its deadline is over. */
export function unary<Request, Response>(
  context: ApiContext,
  handle: (supervisor: Supervisor, request: Request, signal: AbortSignal) => Response | Promise<Response>,
): handleUnaryCall<Request, Response> {
  return (call: ServerUnaryCall<Request, Response>, respond: sendUnaryData<Response>) => {
    const cancelled = new AbortController();
    call.once("cancelled", () => cancelled.abort(new OperationError("cancelled", "context canceled")));
    const run = async () => {
      await context.ready;
      return await handle(context.supervisor, call.request, cancelled.signal);
    };
    run().then(
      (response) => respond(null, response),
      (error: unknown) => respond(serviceError(error)),
    );
  };
}
