import type { Tasks } from "../../core/tasks/tasks.js";
import { type APIServer, APIService, type GetServerVersionResponse } from "../../proto/containerd.js";
import type { Call } from "../grpc/call.js";
import { type Front, serverStream, unary } from "../grpc/handlers.js";
import type { GrpcService } from "../grpc/server.js";
import { createCheckpoint, deleteCheckpoint, listCheckpoint } from "./checkpoints.js";
import { createContainer, getState, getStats, updateContainer } from "./containers.js";
import { events } from "./events.js";
import { nameOf } from "./lifecycle.js";
import { addProcess, signal, updateProcess } from "./processes.js";
import { checkText } from "./request-text.js";
import { wordsOf } from "./words.js";

/**
 * The API of containerd 0.2.
 * @param ready resolves once the containers of an earlier daemon are known, but for those of which somebody (a runtime) has to be asked:
 * before that any answer could be wrong
 */
export function serviceV0(tasks: Tasks, ready: Promise<void>, version: GetServerVersionResponse): GrpcService {
  const front: Front = { words: wordsOf, log: tasks.log };
  const answer = <Request extends { id: string }, Response>(
    handle: (tasks: Tasks, call: Call<Request>) => Response | Promise<Response>,
  ) =>
    unary(front, async (call: Call<Request>) => {
      const { request, signal } = call;
      checkText(request);
      await ready;
      // Only what is about one of the others waits for it.
      await tasks.restored(nameOf(request.id), call);
      signal.throwIfAborted();
      return await handle(tasks, call);
    });
  const implementation: APIServer = {
    getServerVersion: (_call, respond) => respond(null, version),
    createContainer: answer(createContainer),
    updateContainer: answer(updateContainer),
    signal: answer(signal),
    updateProcess: answer(updateProcess),
    addProcess: answer(addProcess),
    createCheckpoint: answer(createCheckpoint),
    deleteCheckpoint: answer(deleteCheckpoint),
    listCheckpoint: answer(listCheckpoint),
    state: answer(getState),
    events: serverStream(front, (call) => events(tasks, ready, call)),
    stats: answer(getStats),
  };
  return { definition: APIService, implementation };
}
