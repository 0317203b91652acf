import { ContainersService } from "../../proto/containerd/services/containers/v1/containers.js";
import { ContentService } from "../../proto/containerd/services/content/v1/content.js";
import { DiffService } from "../../proto/containerd/services/diff/v1/diff.js";
import { EventsService } from "../../proto/containerd/services/events/v1/events.js";
import { ImagesService } from "../../proto/containerd/services/images/v1/images.js";
import { IntrospectionService } from "../../proto/containerd/services/introspection/v1/introspection.js";
import { LeasesService } from "../../proto/containerd/services/leases/v1/leases.js";
import { NamespacesService } from "../../proto/containerd/services/namespaces/v1/namespaces.js";
import { SnapshotsService } from "../../proto/containerd/services/snapshots/v1/snapshots.js";
import { StreamingService } from "../../proto/containerd/services/streaming/v1/streaming.js";
import { TasksService } from "../../proto/containerd/services/tasks/v1/tasks.js";
import { TransferService } from "../../proto/containerd/services/transfer/v1/transfer.js";
import { VersionService } from "../../proto/containerd/services/version/v1/version.js";
import { anyText } from "../options/option-checks.js";
import type { Connection } from "./connection.js";
import { Services, type V1Service } from "./services.js";

/**
 * The services of containerd 1.x's API in one namespace, with methods and messages as on the wire, in the names of JavaScript. They work on
 * any containerd 1.x that has them. Every method throws {@link ContainerdError}, or the signal's reason.
 *
 * @example
 * const { containers } = await client.v1.containers.list({ filters: ["labels.tier==web"] });
 * const { images } = await client.v1.in("k8s.io").images.list();
 */
export class V1 {
  /** What all calls are about. */
  readonly namespace: string;
  readonly containers: V1Service<typeof ContainersService>;
  readonly content: V1Service<typeof ContentService>;
  readonly diff: V1Service<typeof DiffService>;
  readonly events: V1Service<typeof EventsService>;
  readonly images: V1Service<typeof ImagesService>;
  readonly introspection: V1Service<typeof IntrospectionService>;
  readonly leases: V1Service<typeof LeasesService>;
  readonly namespaces: V1Service<typeof NamespacesService>;
  readonly snapshots: V1Service<typeof SnapshotsService>;
  readonly streaming: V1Service<typeof StreamingService>;
  readonly tasks: V1Service<typeof TasksService>;
  readonly transfer: V1Service<typeof TransferService>;
  readonly version: V1Service<typeof VersionService>;
  readonly #connection: Connection;

  /** @internal */
  constructor(connection: Connection, namespace: string) {
    this.#connection = connection;
    this.namespace = namespace;
    const services = new Services(connection, namespace);
    this.containers = services.of(ContainersService);
    this.content = services.of(ContentService);
    this.diff = services.of(DiffService);
    this.events = services.of(EventsService);
    this.images = services.of(ImagesService);
    this.introspection = services.of(IntrospectionService);
    this.leases = services.of(LeasesService);
    this.namespaces = services.of(NamespacesService);
    this.snapshots = services.of(SnapshotsService);
    this.streaming = services.of(StreamingService);
    this.tasks = services.of(TasksService);
    this.transfer = services.of(TransferService);
    this.version = services.of(VersionService);
  }

  /** The same services in another namespace, over the same connection. */
  in(namespace: string): V1 {
    anyText(namespace, "namespace");
    return new V1(this.#connection, namespace);
  }
}
