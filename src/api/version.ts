import type { GetServerVersionResponse } from "../proto/containerd.js";

/** The version as the protocol has it: three numbers. The revision is empty: there is no other build of a version. */
export function serverVersion(version: string): GetServerVersionResponse {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  return { major, minor, patch, revision: "" };
}
