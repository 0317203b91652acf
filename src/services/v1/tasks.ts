import type { CheckpointBlobs } from "../../core/checkpoints/checkpoint-blobs.js";
import type { Containers } from "../../core/containers/containers.js";
import type { Content } from "../../core/content/content.js";
import { isFailure } from "../../core/failure/failure.js";
import type { Tasks } from "../../core/tasks/tasks.js";
import { type TasksServer, TasksService } from "../../proto/containerd/services/tasks/v1/tasks.js";
import type { GrpcService } from "../grpc/server.js";
import type { FrontV1, NamespacedCall } from "./front.js";
import { checkpoint } from "./tasks/checkpoint.js";
import { closeIo, kill, pause, resizePty, resume } from "./tasks/control.js";
import { create, deleteProcess, deleteTask, exec, start } from "./tasks/lifecycle.js";
import { metrics } from "./tasks/metrics.js";
import { get, list, listPids, wait } from "./tasks/state.js";
import { update } from "./tasks/update.js";

/** What the calls about tasks work on. */
export interface TaskCalls {
  tasks: Tasks;
  containers: Containers;
  content: Content;
  checkpoints: CheckpointBlobs;
}

type Handler<Request, Response> = (calls: TaskCalls, call: NamespacedCall<Request>) => Response | Promise<Response>;

/** The tasks of containers: what runs. */
export function tasksService(front: FrontV1, calls: TaskCalls): GrpcService {
  const { tasks, containers } = calls;
  const inNamespace = <Request, Response>(handle: Handler<Request, Response>) =>
    front.namespaced(async (call: NamespacedCall<Request>) => {
      await tasks.runDirectory.open();
      return await handle(calls, call);
    });
  const about = <Request extends { containerId: string }, Response>(handle: Handler<Request, Response>) =>
    inNamespace(async (_, call: NamespacedCall<Request>) => {
      const name = { namespace: call.namespace, id: call.request.containerId };
      // Only what is about one of which it is not known yet whether it runs waits for that.
      await tasks.restored(name, call);
      try {
        return await handle(calls, call);
      } catch (error) {
        // Where there is not even a container, that is what is missing.
        if (isFailure(error, "container-not-found")) await containers.getBrief(name.namespace, name.id);
        throw error;
      }
    });
  const implementation: TasksServer = {
    create: about(create),
    start: about(start),
    delete: about(deleteTask),
    deleteProcess: about(deleteProcess),
    get: about(get),
    list: inNamespace(list),
    kill: about(kill),
    exec: about(exec),
    resizePty: about(resizePty),
    closeIo: about(closeIo),
    pause: about(pause),
    resume: about(resume),
    listPids: about(listPids),
    wait: about(wait),
    metrics: inNamespace(metrics),
    update: about(update),
    checkpoint: about(checkpoint),
  };
  return { definition: TasksService, implementation };
}
