import { Failure } from "../../core/failure/failure.js";
import type { Snapshots } from "../../core/snapshots/snapshots.js";
import { type DiffServer, DiffService } from "../../proto/containerd/services/diff/v1/diff.js";
import type { GrpcService } from "../grpc/server.js";
import type { FrontV1 } from "./front.js";

/** From a layer's blob to a snapshot, and back. */
export function diffService(front: FrontV1, snapshots: Snapshots): GrpcService {
  const implementation: DiffServer = {
    apply: front.namespaced(async ({ request }) => {
      await snapshots.ofMounts(request.mounts);
      throw new Failure("unimplemented", "refused", { why: "diffs are not there yet" });
    }),
    diff: front.namespaced(async ({ request }) => {
      await snapshots.ofMounts(request.right);
      throw new Failure("unimplemented", "refused", { why: "diffs are not there yet" });
    }),
  };
  return { definition: DiffService, implementation };
}
