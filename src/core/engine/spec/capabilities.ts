import { CAPABILITIES, capabilityName } from "../../../contract/capabilities.js";
import type { ContainerConfig } from "../container-config.js";
import { invalidOption } from "./invalid-option.js";
import type { OciProcess } from "./oci-spec.js";

/** What a container's root can do that others can't, when nobody says otherwise: Docker's choice, which images rely on. */
const DEFAULTS = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FSETID",
  "CAP_FOWNER",
  "CAP_MKNOD",
  "CAP_NET_RAW",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETFCAP",
  "CAP_SETPCAP",
  "CAP_NET_BIND_SERVICE",
  "CAP_SYS_CHROOT",
  "CAP_KILL",
  "CAP_AUDIT_WRITE",
];

/**
 * What processes of a container may have at most, in the kernel's order.
 * @param available those that this daemon has itself: nobody can give more
 * @throws Failure (invalid-argument)
 */
export function capabilitiesOf(
  { privileged, capAdd, capDrop }: Pick<ContainerConfig, "privileged" | "capAdd" | "capDrop">,
  available: readonly string[],
): string[] {
  const added = namesOf("capAdd", capAdd);
  const dropped = namesOf("capDrop", capDrop);
  for (const [index, name] of added.entries()) {
    const why = "neither this kernel nor this daemon has it to give";
    if (name !== "ALL" && !available.includes(name)) throw invalidOption(`capAdd[${index}]`, capAdd[index], why);
  }
  if (privileged) return [...available];
  return available.filter((name) => {
    if (added.includes("ALL")) return !dropped.includes(name);
    return added.includes(name) || (DEFAULTS.includes(name) && !dropped.includes("ALL") && !dropped.includes(name));
  });
}

function namesOf(option: string, names: readonly string[]): string[] {
  return names.map((name, index) => {
    if (name.toUpperCase() === "ALL") return "ALL";
    const full = capabilityName(name);
    if (!CAPABILITIES.includes(full))
      throw invalidOption(`${option}[${index}]`, name, "no capability has this name; ALL stands for every one");
    return full;
  });
}

/** Who is not root has none until a program file gives some: so execve(2) has it. */
export function setsOf(capabilities: readonly string[], uid: number): OciProcess["capabilities"] {
  const own = uid === 0 ? [...capabilities] : [];
  return { bounding: [...capabilities], effective: own, permitted: [...own], inheritable: [] };
}
