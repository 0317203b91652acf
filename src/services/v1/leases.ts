import { secondsAndNanos } from "../../contract/go/rfc3339.js";
import type { Collection } from "../../core/metadata/collection.js";
import type { LeaseRecord, Leases, Resource } from "../../core/metadata/leases.js";
import { type Lease, type LeasesServer, LeasesService } from "../../proto/containerd/services/leases/v1/leases.js";
import type { GrpcService } from "../grpc/server.js";
import { entry, type Field, filtered, present } from "./filters/filter.js";
import type { FrontV1 } from "./front.js";

/** What is kept until its maker has no more use for it. */
export function leasesService(front: FrontV1, leases: Leases, collection: Collection): GrpcService {
  const implementation: LeasesServer = {
    create: front.namespaced(async ({ namespace, request }) => ({
      lease: messageOf(await leases.create(namespace, request.id, request.labels)),
    })),
    delete: front.namespaced(async ({ namespace, request }) => {
      await leases.delete(namespace, request.id);
      if (request.sync) await collection.run();
      return {};
    }),
    list: front.namespaced(async ({ namespace, request }) => ({
      leases: (await filtered(await leases.list(namespace), request.filters, fieldOf)).map(messageOf),
    })),
    addResource: front.namespaced(async ({ namespace, request }) => {
      await leases.addResource(namespace, request.id, request.resource ?? NONE);
      return {};
    }),
    deleteResource: front.namespaced(async ({ namespace, request }) => {
      await leases.deleteResource(namespace, request.id, request.resource ?? NONE);
      return {};
    }),
    listResources: front.namespaced(async ({ namespace, request }) => ({
      resources: await leases.resources(namespace, request.id),
    })),
  };
  return { definition: LeasesService, implementation };
}

const NONE: Resource = { id: "", type: "" };

function fieldOf({ id, labels }: LeaseRecord): Field {
  return ([name, ...path]) => {
    if (name === "id") return present(id);
    return name === "labels" ? entry(labels, path) : undefined;
  };
}

function messageOf({ id, labels, createdAt }: LeaseRecord): Lease {
  return { id, labels, createdAt: secondsAndNanos(createdAt) };
}
