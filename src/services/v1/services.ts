import type { Logger } from "pino";
import type { Containers } from "../../core/containers/containers.js";
import type { Namespaces } from "../../core/metadata/namespaces.js";
import type { Tasks } from "../../core/tasks/tasks.js";
import type { GrpcService } from "../grpc/server.js";
import { FrontV1 } from "./front.js";
import { tasksService } from "./tasks.js";
import { versionService } from "./version.js";

export interface V1Options {
  tasks: Tasks;
  namespaces: Namespaces;
  containers: Containers;
  /** Resolves once the tasks of an earlier daemon are known. */
  ready: Promise<void>;
  log: Logger;
  /** Of this project. */
  version: string;
  revision: string;
}

/** The services of containerd 1.x's API. */
export function servicesV1({ tasks, containers, ready, log, version, revision }: V1Options): GrpcService[] {
  const front = new FrontV1(log, ready);
  return [versionService(front, version, revision), tasksService(front, { tasks, containers })];
}
