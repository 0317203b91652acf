import type { Logger } from "pino";
import type { CheckpointBlobs } from "../../core/checkpoints/checkpoint-blobs.js";
import type { Containers } from "../../core/containers/containers.js";
import type { Content } from "../../core/content/content.js";
import type { Images } from "../../core/images/image-records.js";
import type { ImageTransfers } from "../../core/images/transfers.js";
import type { Collection } from "../../core/metadata/collection.js";
import type { Identity } from "../../core/metadata/identity.js";
import type { Leases } from "../../core/metadata/leases.js";
import type { Namespaces } from "../../core/metadata/namespaces.js";
import type { Snapshots } from "../../core/snapshots/snapshots.js";
import type { Tasks } from "../../core/tasks/tasks.js";
import type { GrpcService } from "../grpc/server.js";
import { containersService } from "./containers.js";
import { contentService } from "./content.js";
import { diffService } from "./diff.js";
import { eventsService } from "./events.js";
import { FrontV1 } from "./front.js";
import { imagesService } from "./images.js";
import { introspectionService } from "./introspection.js";
import { leasesService } from "./leases.js";
import { namespacesService } from "./namespaces.js";
import { snapshotsService } from "./snapshots.js";
import { Streams, streamingService } from "./streaming.js";
import { tasksService } from "./tasks.js";
import { transferService } from "./transfer.js";
import { versionService } from "./version.js";

export interface V1Options {
  tasks: Tasks;
  identity: Identity;
  namespaces: Namespaces;
  containers: Containers;
  leases: Leases;
  collection: Collection;
  content: Content;
  images: Images;
  snapshots: Snapshots;
  transfers: ImageTransfers;
  checkpoints: CheckpointBlobs;
  /** Resolves once the tasks of an earlier daemon are known. */
  ready: Promise<void>;
  log: Logger;
  /** Of this project. */
  version: string;
  revision: string;
}

/** The services of containerd 1.x's API. */
export function servicesV1(options: V1Options): GrpcService[] {
  const { tasks, identity, namespaces, containers, leases, collection, content, images, snapshots, checkpoints } =
    options;
  const front = new FrontV1(options.log, options.ready);
  const streams = new Streams();
  const services = [
    versionService(front, options.version, options.revision),
    namespacesService(front, namespaces),
    containersService(front, containers),
    tasksService(front, { tasks, containers, content, checkpoints }),
    snapshotsService(front, snapshots, containers),
    diffService(front, options.transfers),
    transferService(front, options.transfers, streams),
    streamingService(front, streams),
    leasesService(front, leases, collection),
    contentService(front, content),
    imagesService(front, images, collection),
    eventsService(front, tasks),
  ];
  return [...services, introspectionService(front, identity, services)];
}
