import type { Bytes } from "./tar/archive-entry.js";

export const ACCESS_LIST = "system.posix_acl_access";

const KEPT = new Set(["security.capability", ACCESS_LIST, "system.posix_acl_default"]);

/** Whether a layer has an extended attribute: others are the machine's, or overlayfs', which would follow a redirect in them. */
export function isKept(name: Bytes): boolean {
  return KEPT.has(name) || (name.length > 5 && name.startsWith("user.") && !name.startsWith("user.overlay."));
}
