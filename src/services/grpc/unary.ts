import type { handleUnaryCall, ServerUnaryCall, sendUnaryData } from "@grpc/grpc-js";
import { abortable } from "../../core/failure/abortable.js";
import { Failure } from "../../core/failure/failure.js";
import { logText } from "../../core/failure/log-text.js";
import type { Supervisor } from "../../core/tasks/supervisor.js";
import { checkText } from "./request-text.js";
import { serviceError } from "./status.js";

/** What the calls of the API act on. */
export interface ApiContext {
  supervisor: Supervisor;
  /**
   * Resolves once the containers of an earlier daemon are known, but for those of which somebody (a runtime) has to be asked: before that any answer could be
   * wrong.
   */
  ready: Promise<void>;
}

/** A unary call: what it returns is the response, what it throws the status. `signal` is aborted when the caller cancels or its deadline is over; `peer` is who calls (peer.ts). */
export function unary<Request extends { id: string }, Response>(
  context: ApiContext,
  handle: (supervisor: Supervisor, request: Request, signal: AbortSignal, peer: string) => Response | Promise<Response>,
): handleUnaryCall<Request, Response> {
  return (call: ServerUnaryCall<Request, Response>, respond: sendUnaryData<Response>) => {
    const ended = new AbortController();
    let answered = false;
    // Emitted at the end of every call, also of one that was answered.
    call.once("cancelled", () => {
      if (!answered) ended.abort(whyEnded(call));
    });
    const run = async () => {
      checkText(call.request as object);
      await context.ready;
      // Only what is about one of the others waits for it.
      const restored = context.supervisor.restoring.get(call.request.id);
      if (restored !== undefined) await abortable(restored, ended.signal);
      ended.signal.throwIfAborted();
      return await handle(context.supervisor, call.request, ended.signal, call.getPeer());
    };
    run()
      .then(
        (response) => {
          answered = true;
          respond(null, response);
        },
        (error: unknown) => {
          answered = true;
          respond(serviceError(error));
        },
      )
      // A caller that can't be answered must cost nobody else anything.
      .catch((error: unknown) => context.supervisor.log.error({ error: logText(error) }, "containerd: answer a call"));
  };
}

function whyEnded(call: ServerUnaryCall<unknown, unknown>): Failure {
  return Number(call.getDeadline()) <= Date.now()
    ? new Failure("deadline-exceeded", "call-too-late", {})
    : new Failure("cancelled", "call-cancelled", {});
}
