import type { GetServerVersionResponse } from "../../proto/containerd.js";

/** The version as the protocol has it, three numbers, and the commit that was built (empty: none is known). */
export function serverVersion(version: string, revision: string): GetServerVersionResponse {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  return { major, minor, patch, revision };
}
