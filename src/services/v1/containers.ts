import type { ContainerRecord } from "../../core/containers/container-record.js";
import type { Containers } from "../../core/containers/containers.js";
import { EXTENSION, isEngines, managed } from "../../core/engine/kept-container.js";
import { refusal } from "../../core/failure/failure.js";
import {
  type Container,
  type ContainersServer,
  ContainersService,
  type GetContainerRequest,
  type ListContainersRequest,
} from "../../proto/containerd/services/containers/v1/containers.js";
import type { GrpcService } from "../grpc/server.js";
import { encodedContainer, encodedContainers, messageOf } from "./container-messages.js";
import { type MaskFields, masked } from "./field-mask.js";
import { entry, type Field, filtered, present } from "./filters/filter.js";
import type { FrontV1, NamespacedCall } from "./front.js";

/** What may change, by the names that containerd has for it. */
const MUTABLE: MaskFields<Wanted> = new Map([
  ["labels", { field: "labels", isMap: true }],
  ["spec", { field: "spec" }],
  ["extensions", { field: "extensions", isMap: true }],
  ["image", { field: "image" }],
  ["snapshotkey", { field: "snapshotKey" }],
]);

/** The records of containers. */
export function containersService(front: FrontV1, containers: Containers): GrpcService {
  const list = async (namespace: string, filters: readonly string[]) =>
    filtered(await containers.list(namespace), filters, fieldOf);
  const encoded = {
    get: front.namespaced(async ({ namespace, request }: NamespacedCall<GetContainerRequest>) =>
      encodedContainer(await containers.get(namespace, request.id)),
    ),
    list: front.namespaced(async ({ namespace, request }: NamespacedCall<ListContainersRequest>) =>
      encodedContainers(await list(namespace, request.filters)),
    ),
  };
  const others: Omit<ContainersServer, "get" | "list"> = {
    listStream: front.namespacedStream(async function* ({ namespace, request }) {
      for (const record of await list(namespace, request.filters)) yield { container: messageOf(record) };
    }),
    create: front.namespaced(async ({ namespace, request }) => {
      const wanted = wantedOf(request.container);
      requireOthers(wanted);
      return { container: messageOf(await containers.create(namespace, wanted)) };
    }),
    update: front.namespaced(async ({ namespace, request: { container, updateMask } }) => {
      const wanted = wantedOf(container);
      if (wanted.id === "") throw refusal("Container.ID required");
      const record = await containers.update(namespace, wanted.id, (before) => {
        if (isEngines(before)) throw managed(wanted.id, "changed");
        requireOthers(wanted);
        if (!updateMask?.length) checkImmutable(before, wanted);
        return { ...before, ...masked<Wanted>(before, wanted, updateMask, MUTABLE, JSON.stringify(wanted.id)) };
      });
      return { container: messageOf(record) };
    }),
    delete: front.namespaced(async ({ namespace, request }) => {
      await containers.delete(namespace, request.id, (record) => {
        if (isEngines(record)) throw managed(request.id, "removed");
      });
      return {};
    }),
  };
  return { definition, implementation: { ...encoded, ...others } };
}

/** What is read most, and is longest, comes encoded: not by way of one writer that holds it all. */
const asIs = { responseSerialize: (bytes: Buffer) => bytes };
const definition = {
  ...ContainersService,
  get: { ...ContainersService.get, ...asIs },
  list: { ...ContainersService.list, ...asIs },
};

/** Only the engine says of a container that it is its. */
function requireOthers(wanted: Wanted): void {
  if (isEngines(wanted)) throw refusal(`container.Extensions: ${EXTENSION} is written by the engine only`);
}

type Wanted = Omit<ContainerRecord, "createdAt" | "updatedAt">;

/** Who changes all that may change has to mean the very container: what can't change has to be the same. */
function checkImmutable(before: Wanted, wanted: Wanted): void {
  if (wanted.snapshotter !== before.snapshotter) throw refusal("container.Snapshotter field is immutable");
  if (wanted.runtime.name !== before.runtime.name) throw refusal("container.Runtime.Name field is immutable");
}

function fieldOf({ id, runtime, image, labels }: ContainerRecord): Field {
  return ([name, ...path]) => {
    if (name === "id") return present(id);
    if (name === "image") return present(image);
    if (name === "labels") return entry(labels, path);
    return name === "runtime" && path[0] === "name" ? present(runtime.name) : undefined;
  };
}

function wantedOf(container: Container | undefined): Wanted {
  const { id = "", labels = {}, image = "", runtime, spec, snapshotter = "", snapshotKey = "" } = container ?? {};
  const { extensions = {}, sandbox = "" } = container ?? {};
  const { name = "", options } = runtime ?? {};
  return { id, labels, image, runtime: { name, options }, spec, snapshotter, snapshotKey, extensions, sandbox };
}
