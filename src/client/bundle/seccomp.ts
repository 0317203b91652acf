import { defaultSeccompProfile, type SeccompProfile } from "../../contract/seccomp.js";
import { type Check, wrong } from "../options/option-checks.js";

/**
 * "default": the usual profile. "unconfined": every call is allowed. An object: a profile in the form of the OCI runtime specification,
 * handed on as it is.
 */
export type Seccomp = "default" | "unconfined" | SeccompProfile;

export const seccompCheck: Check = (value, name) => {
  const isProfile = typeof value === "object" && value !== null && "defaultAction" in value;
  if (value !== "default" && value !== "unconfined" && !isProfile)
    throw wrong(name, '"default", "unconfined" or a profile, an object with defaultAction', value);
};

/** What config.json has; undefined for no profile. */
export function seccompOf(seccomp: Seccomp, capabilities: readonly string[]): SeccompProfile | undefined {
  if (seccomp === "unconfined") return undefined;
  return seccomp === "default" ? defaultSeccompProfile(capabilities) : seccomp;
}
