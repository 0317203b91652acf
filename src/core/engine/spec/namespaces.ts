import type { ContainerConfig, IdMap, NamespaceMode } from "../container-config.js";
import { absolutePath, invalidOption } from "./invalid-option.js";
import type { OciIdMapping, OciNamespace } from "./oci-spec.js";
import type { OwnNamespaces } from "./sysctls.js";

/** Paths of namespaces of containers that are joined (`/proc/PID/ns/net`), for the modes "container". */
export interface JoinedNamespaces {
  network?: string | undefined;
  pid?: string | undefined;
  ipc?: string | undefined;
  uts?: string | undefined;
  cgroup?: string | undefined;
}

type NamespaceWishes = Pick<
  ContainerConfig,
  "network" | "pid" | "ipc" | "uts" | "cgroupns" | "userns" | "privileged" | "init" | "idle"
>;

/** @throws Failure (invalid-argument) */
export function namespacesOf(config: NamespaceWishes, joined: JoinedNamespaces): OciNamespace[] {
  checkModes(config);
  const { network, pid, ipc, uts, cgroupns, userns } = config;
  return [
    { type: "mount" },
    ...networkOf(network, joined.network),
    ...namespaceOf("pid", pid, joined.pid),
    ...namespaceOf("ipc", ipc, joined.ipc),
    ...namespaceOf("uts", uts, joined.uts),
    ...namespaceOf("cgroup", cgroupns, joined.cgroup),
    ...(userns.mode === "host" ? [] : [{ type: "user" as const }]),
  ];
}

/** @returns which of them are nobody else's */
export function ownNamespaces({ network, ipc, uts, userns }: NamespaceWishes): OwnNamespaces {
  const isOwn = ({ mode }: NamespaceMode) => mode !== "host" && mode !== "container";
  const isOwnNetwork = network.mode === "none" || network.mode === "attached";
  return { network: isOwnNetwork, ipc: isOwn(ipc), uts: isOwn(uts), user: userns.mode !== "host" };
}

function checkModes(config: NamespaceWishes): void {
  for (const name of ["pid", "uts", "cgroupns"] as const) {
    const { mode } = config[name];
    if (mode === "shareable" || mode === "none")
      throw invalidOption(name, mode, 'it must be "private", "host" or "container:ID"');
  }
  if ((config.init || config.idle) && config.pid.mode !== "private")
    throw invalidOption(
      config.idle ? "idle" : "init",
      true,
      `the first process of a container is pid 1 only with pid "private", not "${config.pid.mode}"`,
    );
  if (config.userns.mode === "host") return;
  const why = `userns "${config.userns.mode}" has no rights there: userns "host" goes with it`;
  if (config.privileged) throw invalidOption("privileged", true, why);
  // What belongs to another user namespace can neither be mounted from this one (/proc, message queues), nor changed.
  for (const name of ["pid", "ipc", "cgroupns"] as const) {
    const { mode } = config[name];
    if (mode === "host" || mode === "container") throw invalidOption(name, modeText(config[name]), why);
  }
}

function modeText(mode: NamespaceMode): string {
  return mode.mode === "container" ? `container:${mode.container}` : mode.mode;
}

function networkOf(network: ContainerConfig["network"], joined: string | undefined): OciNamespace[] {
  if (network.mode === "path") return [{ type: "network", path: absolutePath("network", network.path) }];
  if (network.mode === "attached") return [{ type: "network" }];
  return namespaceOf("network", network, joined);
}

function namespaceOf(type: OciNamespace["type"], mode: NamespaceMode, joined: string | undefined): OciNamespace[] {
  if (mode.mode === "host") return [];
  if (mode.mode !== "container") return [{ type }];
  if (joined === undefined) throw new Error(`no ${type} namespace of container ${mode.container} is given`);
  return [{ type, path: joined }];
}

/** The largest id; the one after it means "leave it as it is" to the kernel. */
const MAX_ID = 2 ** 32 - 2;
/** As many as the kernel takes. */
const MAX_RANGES = 340;

/** @param name of the option. @throws Failure (invalid-argument) for what the kernel does not take */
export function idMappings(name: string, maps: readonly IdMap[]): OciIdMapping[] {
  if (maps.length === 0 || maps.length > MAX_RANGES)
    throw invalidOption(name, maps, `it must have 1 to ${MAX_RANGES} ranges`);
  for (const [index, { inside, outside, length }] of maps.entries()) {
    const option = `${name}[${index}]`;
    const isRange =
      [inside, outside, length].every(Number.isSafeInteger) &&
      Math.min(inside, outside) >= 0 &&
      length >= 1 &&
      Math.max(inside, outside) + length - 1 <= MAX_ID;
    if (!isRange) throw invalidOption(option, maps[index], `it must be a range of ids from 0 to ${MAX_ID}`);
    for (const other of maps.slice(0, index)) {
      const meets = (side: "inside" | "outside") =>
        maps[index]![side] < other[side] + other.length && other[side] < maps[index]![side] + length;
      if (meets("inside") || meets("outside"))
        throw invalidOption(option, maps[index], `it has ids that ${JSON.stringify(other)} has, too`);
    }
  }
  if (!maps.some(({ inside }) => inside === 0))
    throw invalidOption(name, maps, "it must have an id for 0, the container's root");
  return maps.map(({ inside, outside, length }) => ({ containerID: inside, hostID: outside, size: length }));
}
