import { type VersionServer, VersionService } from "../../proto/containerd/services/version/v1/version.js";
import type { GrpcService } from "../grpc/server.js";
import type { FrontV1 } from "./front.js";

/** The release of containerd whose API this is: clients compare it. */
const API_RELEASE = "1.6.20";

/** @param version of this project */
export function versionService(front: FrontV1, version: string, revision: string): GrpcService {
  const answer = { version: `${API_RELEASE}+containerd-ts-${version}`, revision };
  const implementation: VersionServer = { version: front.general(() => answer) };
  return { definition: VersionService, implementation };
}
