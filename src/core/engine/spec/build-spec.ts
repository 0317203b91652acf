import { basename } from "node:path";
import { MASKED_PATHS, READONLY_PATHS } from "../../../contract/kernel-paths.js";
import type { IdMaps } from "../../files/file-owners.js";
import type { ContainerConfig, Resources } from "../container-config.js";
import { capabilitiesOf, setsOf } from "./capabilities.js";
import { cgroupsPathOf } from "./cgroups-path.js";
import { argsOf, overEnvironment, withDefaults, workdirOf } from "./command.js";
import { deviceRules, devicesOf } from "./devices.js";
import type { HostFacts } from "./host-facts.js";
import type { ImageConfig } from "./image-config.js";
import { absolutePath, checkWhole, invalidOption } from "./invalid-option.js";
import { type ContainerFiles, initPlace, mountsOf, rootPropagation, type VolumeSource } from "./mounts.js";
import { idMappings, type JoinedNamespaces, namespacesOf, ownNamespaces } from "./namespaces.js";
import type { OciMount, OciResources, OciSpec } from "./oci-spec.js";
import { resourcesOf } from "./resources.js";
import { seccompOf } from "./seccomp.js";
import { sysctlsOf } from "./sysctls.js";
import { rlimitsOf } from "./ulimits.js";
import type { ResolvedUser } from "./user.js";

export interface SpecInputs {
  id: string;
  config: ContainerConfig;
  /** Undefined: the root file system is a directory of the host. */
  image?: ImageConfig | undefined;
  user: ResolvedUser;
  root: { path: string; readOnly: boolean };
  /** Of a container with a user namespace; undefined: those of the config, if it has some. */
  idMaps?: IdMaps | undefined;
  /** `shm`: a directory of the host for /dev/shm, which containers share. */
  joined?: (JoinedNamespaces & { shm?: string | undefined }) | undefined;
  files?: ContainerFiles | undefined;
  volumes?: readonly VolumeSource[] | undefined;
  host: HostFacts;
  /** The init program, on the host; with `config.init` or `config.idle`. */
  init?: string | undefined;
}

/** A name that the kernel takes. */
const LONGEST_HOSTNAME = 64;
/** What docker ps shows of an id. */
const SHORT_ID = 12;

/**
 * The OCI specification of a container: what its image says, what the caller wishes, what this machine has. It looks at nothing itself:
 * {@link prepareHost} and {@link resolveUser} have done that. `stringifyJson` writes it: it can have integers larger than a double.
 * @throws Failure: invalid-argument, which names the option, quotes its value, and says what is allowed
 */
export function buildSpec(inputs: SpecInputs): OciSpec {
  const { id, config, image, user, root, joined = {}, files = {}, volumes = [], host, init } = inputs;
  const own = ownNamespaces(config);
  const maps = idMapsOf(inputs);
  const hostname = hostnameOf(inputs);
  const capabilities = capabilitiesOf(config, host.capabilities);
  const devices = devicesOf(config, host, own.user);
  const namespaces = namespacesOf(config, joined);
  const mounts = mountsOf({
    config,
    volumes,
    files,
    gids: maps?.gids,
    shm: joined.shm,
    init: config.init || config.idle ? init : undefined,
    host,
  });
  const command = commandOf(config, image, init);
  if ((config.init || config.idle) && init === undefined) throw new Error("no init program is given");
  const rlimits = rlimitsOf(config.ulimits, host.mostFiles);
  const appArmor = appArmorOf(config, host);
  const env = overEnvironment("env", image?.env ?? [], config.env);
  if (config.oomScoreAdj !== undefined)
    checkWhole("oomScoreAdj", config.oomScoreAdj, -1000, 1000, "a whole number from -1000 to 1000");
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: config.tty,
      user: {
        uid: user.uid,
        gid: user.gid,
        ...(user.additionalGids.length > 0 && { additionalGids: [...user.additionalGids] }),
      },
      args: command,
      env: withDefaults(env, { hostname, tty: config.tty, home: user.home }),
      cwd: workdirOf(config, image),
      capabilities: setsOf(capabilities, user.uid),
      ...(rlimits.length > 0 && { rlimits }),
      noNewPrivileges: config.noNewPrivileges,
      ...(appArmor !== undefined && { apparmorProfile: appArmor }),
      // Without it the daemon sees to the 0: asked for here, it would fail where a process may not lower its own.
      ...(config.oomScoreAdj !== undefined && { oomScoreAdj: config.oomScoreAdj }),
    },
    root: { path: root.path, readonly: root.readOnly },
    ...(own.uts && { hostname }),
    ...(own.uts && config.domainname !== "" && { domainname: config.domainname }),
    mounts: withDevices(mounts, devices.mounts),
    linux: {
      namespaces,
      ...(maps && { uidMappings: idMappings("uidMap", maps.uids), gidMappings: idMappings("gidMap", maps.gids) }),
      ...(devices.devices.length > 0 && { devices: devices.devices }),
      ...defined({
        cgroupsPath: cgroupsPathOf(id, config.cgroupParent, host),
        sysctl: sysctlsOf(config, own),
        seccomp: seccompOf(config, capabilities, host.kernel),
        rootfsPropagation: rootPropagation(config.mounts),
      }),
      resources: {
        devices: [...devices.rules, ...deviceRules(config.resources.deviceCgroupRules ?? [])],
        ...limitsOf(config.resources, host),
      },
      maskedPaths: pathsOf("maskedPaths", config.maskedPaths ?? (config.privileged ? [] : [...MASKED_PATHS])),
      readonlyPaths: pathsOf("readonlyPaths", config.readonlyPaths ?? (config.privileged ? [] : [...READONLY_PATHS])),
    },
  };
}

/**
 * What a container is called inside; the host's own name where it has not one of its own.
 * @throws Failure (invalid-argument)
 */
export function hostnameOf({
  id,
  config,
  host,
}: Pick<SpecInputs, "id" | "config"> & { host: Pick<HostFacts, "hostname"> }): string {
  const isOwn = ownNamespaces(config).uts;
  for (const name of ["hostname", "domainname"] as const) {
    const value = config[name];
    if (value === "") continue;
    if (!isOwn) throw invalidOption(name, value, `a container with uts "${config.uts.mode}" has no name of its own`);
    if (value.length > LONGEST_HOSTNAME || !/^[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?$/.test(value)) {
      const why = `it must be of letters, digits, dots and dashes, ${LONGEST_HOSTNAME} at most`;
      throw invalidOption(name, value, why);
    }
  }
  if (config.hostname !== "") return config.hostname;
  return config.uts.mode === "host" || config.network.mode === "host" ? host.hostname : id.slice(0, SHORT_ID);
}

/** The container's own process. @throws Failure (invalid-argument) */
function commandOf(config: ContainerConfig, image: ImageConfig | undefined, init: string | undefined): string[] {
  const { idle, entrypoint, args, mounts } = config;
  if (idle && (args !== undefined || entrypoint !== undefined))
    throw invalidOption(
      args === undefined ? "entrypoint" : "args",
      args ?? entrypoint,
      "one that is idle has no command",
    );
  const place = initPlace(mounts);
  if (!idle) return config.init ? [place, "--", ...argsOf(config, image)] : argsOf(config, image);
  // Of those that reap only catatonit needs no program of the image's.
  return basename(init ?? "") === "catatonit" ? [place, "-P"] : [place, "--", "sleep", LONGEST_SLEEP];
}

/** In seconds: 68 years. */
const LONGEST_SLEEP = String(2 ** 31 - 1);

/** What is without a limit from the start is not said: some runtimes know −1 for a change only. */
function limitsOf(resources: Resources, host: HostFacts): OciResources {
  const { pids, ...limits } = resourcesOf(resources, host);
  return { ...limits, ...(pids && pids.limit !== -1 && { pids }) };
}

function idMapsOf({ config, idMaps }: SpecInputs): IdMaps | undefined {
  const { userns } = config;
  if (userns.mode === "host") return undefined;
  const maps = idMaps ?? (userns.mode === "map" ? userns : undefined);
  if (maps === undefined) throw new Error("no ids are given for the user namespace");
  return maps;
}

function appArmorOf({ apparmor }: ContainerConfig, host: HostFacts): string | undefined {
  if (apparmor === "" || (apparmor === "unconfined" && !host.appArmor)) return undefined;
  if (!host.appArmor) throw invalidOption("apparmor", apparmor, "this kernel does not run AppArmor");
  if (!/^[\w./:+-]+$/.test(apparmor))
    throw invalidOption("apparmor", apparmor, 'it must be the name of a loaded profile, or "unconfined"');
  return apparmor;
}

function withDevices(mounts: OciMount[], devices: readonly OciMount[]): OciMount[] {
  for (const { destination } of devices)
    if (mounts.some((mount) => mount.destination === destination))
      throw invalidOption("devices", destination, "something else is mounted at this place");
  return [...mounts, ...devices];
}

function pathsOf(option: string, paths: readonly string[]): string[] {
  return paths.map((path, index) => absolutePath(`${option}[${index}]`, path));
}

type Defined<T> = { [key in keyof T]?: Exclude<T[key], undefined> };

function defined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>;
}
