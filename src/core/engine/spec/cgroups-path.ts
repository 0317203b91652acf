import type { HostFacts } from "./host-facts.js";
import { checkText, invalidOption } from "./invalid-option.js";

/** What systemd calls the units of containers: `containerd-ts-ID.scope`. */
const PREFIX = "containerd-ts";
const DEFAULT_SLICE = "system.slice";

/**
 * Where a runtime is to make a container's cgroup: a path from the top of the hierarchies, or a slice and the name of a unit of systemd.
 * Undefined: the runtime's own choice.
 * @throws Failure (invalid-argument)
 */
export function cgroupsPathOf(
  id: string,
  parent: string,
  { systemdCgroup }: Pick<HostFacts, "systemdCgroup">,
): string | undefined {
  checkText("cgroupParent", parent);
  if (systemdCgroup) {
    // Names of units have no slashes; what a slice is in, its name says.
    if (parent !== "" && !/^[\w:.@\\-]+\.slice$/.test(parent)) {
      const why = "the daemon runs with --systemd-cgroup: it must be the name of a slice, like machine.slice";
      throw invalidOption("cgroupParent", parent, why);
    }
    return `${parent || DEFAULT_SLICE}:${PREFIX}:${id}`;
  }
  if (parent === "") return undefined;
  const parts = parent.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..") || parent.includes(":"))
    throw invalidOption(
      "cgroupParent",
      parent,
      "it must be a path below the top of the cgroups, without .. and colons",
    );
  return `/${[...parts, id].join("/")}`;
}

/** What a runtime is told before its subcommands, so that it takes that for what it is. */
export function cgroupArgsOf({ systemdCgroup }: Pick<HostFacts, "systemdCgroup">): string[] {
  return systemdCgroup ? ["--systemd-cgroup"] : [];
}
