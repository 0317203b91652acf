import type { Labels } from "../../core/metadata/labels.js";
import type { Namespaces } from "../../core/metadata/namespaces.js";
import { type NamespacesServer, NamespacesService } from "../../proto/containerd/services/namespaces/v1/namespaces.js";
import type { GrpcService } from "../grpc/server.js";
import { type MaskFields, masked } from "./field-mask.js";
import { entry, type Field, filtered, present } from "./filters/filter.js";
import type { FrontV1 } from "./front.js";

type Labelled = { labels: Labels };

const MUTABLE: MaskFields<Labelled> = new Map([["labels", { field: "labels", isMap: true }]]);

/** The namespaces themselves: these calls are about no other. */
export function namespacesService(front: FrontV1, namespaces: Namespaces): GrpcService {
  const implementation: NamespacesServer = {
    get: front.general(async ({ request }) => ({ namespace: await namespaces.get(request.name) })),
    list: front.general(async ({ request: { filter } }) => ({
      namespaces: await filtered(await namespaces.list(), filter === "" ? [] : [filter], fieldOf),
    })),
    create: front.general(async ({ request: { namespace } }) => ({
      namespace: await namespaces.create(namespace?.name ?? "", namespace?.labels ?? {}),
    })),
    update: front.general(async ({ request: { namespace, updateMask } }) => {
      const wanted: Labelled = { labels: namespace?.labels ?? {} };
      const record = await namespaces.update(
        namespace?.name ?? "",
        (labels) => masked({ labels }, wanted, updateMask, MUTABLE, "").labels,
      );
      return { namespace: record };
    }),
    delete: front.general(async ({ request }) => {
      await namespaces.delete(request.name);
      return {};
    }),
  };
  return { definition: NamespacesService, implementation };
}

function fieldOf({ name, labels }: { name: string; labels: Labels }): Field {
  return ([field, ...path]) => {
    if (field === "name") return present(name);
    return field === "labels" ? entry(labels, path) : undefined;
  };
}
