import { refusal } from "../../core/failure/failure.js";
import type { Descriptor } from "../../core/images/image-records.js";
import type { ImageTransfers } from "../../core/images/transfers.js";
import { type DiffServer, DiffService } from "../../proto/containerd/services/diff/v1/diff.js";
import type { Descriptor as Message } from "../../proto/containerd/types/descriptor.js";
import type { GrpcService } from "../grpc/server.js";
import type { FrontV1 } from "./front.js";

/** From a layer's blob to a snapshot, and back. */
export function diffService(front: FrontV1, transfers: ImageTransfers): GrpcService {
  const implementation: DiffServer = {
    apply: front.namespaced(async ({ namespace, request: { diff, mounts }, signal }) => {
      if (diff === undefined) throw refusal("a descriptor of the diff is required");
      const descriptor = { ...diff, size: Number(diff.size) };
      return { applied: messageOf(await transfers.apply({ namespace, descriptor, mounts, signal })) };
    }),
    diff: front.namespaced(async ({ namespace, request, metadata, signal }) => {
      const { left, right, mediaType, ref, labels, sourceDateEpoch: epoch } = request;
      const { lease } = metadata;
      const latest = epoch && { latest: epoch.seconds * 1_000_000_000n + BigInt(epoch.nanos) };
      const descriptor = await transfers.diff({
        namespace,
        left,
        right,
        mediaType,
        ref,
        labels,
        lease,
        signal,
        ...latest,
      });
      return { diff: messageOf(descriptor) };
    }),
  };
  return { definition: DiffService, implementation };
}

function messageOf({ mediaType, digest, size, annotations }: Descriptor): Message {
  return { mediaType, digest, size: BigInt(size), annotations: { ...annotations } };
}
