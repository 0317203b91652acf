import { closeSync, writeFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Mount } from "../../../system/mount/mount.js";
import { directoriesOf } from "../../../system/mount/overlay.js";
import type { ContainerRecord } from "../../containers/container-record.js";
import { Failure, refusal } from "../../failure/failure.js";
import { onForeignFiles, openForeignDirectory } from "../../files/foreign-files.js";
import { stringifyJson } from "../../files/json.js";
import { SNAPSHOTTER } from "../../snapshots/snapshots.js";
import { bundleIn, sharedMemoryIn } from "../../tasks/task.js";
import type { ContainerConfig } from "../container-config.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { resolveCheck } from "../health/health-check.js";
import { checkIdMappedLayers } from "../id-ranges.js";
import { type KeptContainer, keptOf, withKept } from "../kept-container.js";
import type { ResolvedImage } from "../resolved-images.js";
import {
  DIRECTORY_AS_ROOT,
  directoryBelow,
  layersAsRoot,
  type RootFileSystem,
  snapshotAsRoot,
} from "../root-file-system.js";
import { isSignal } from "../signals.js";
import { buildSpec, hostnameOf } from "../spec/build-spec.js";
import { userOf } from "../spec/command.js";
import { type ContainerFileTexts, containerFiles } from "../spec/container-files.js";
import { type HostFacts, prepareHost } from "../spec/host-facts.js";
import { findInit } from "../spec/init-program.js";
import type { ContainerFiles } from "../spec/mounts.js";
import type { JoinedNamespaces } from "../spec/namespaces.js";
import { checkNetworkWishes } from "../spec/network-wishes.js";
import type { OciSpec } from "../spec/oci-spec.js";
import { type ResolvedUser, resolveUser } from "../spec/user.js";
import { timeToLive } from "../time-to-live.js";
import { type CreateRequest, fingerprint } from "./requests.js";
import { runningTask } from "./running.js";
import { takeVolumes, volumeSources } from "./volumes.js";

/** How 1.x's clients call what runs the engine's containers, too. */
const RUNTIME = "io.containerd.runc.v2";
const SPEC = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
/** Keeps the layers of a container that has none of its own. */
export const LAYERS_LABEL = `containerd.io/gc.ref.snapshot.${SNAPSHOTTER}`;

type NewRecord = Omit<ContainerRecord, "createdAt" | "updatedAt">;

/** What is to become of a request. */
export interface Plan {
  kept: KeptContainer;
  image: ResolvedImage | undefined;
  record: NewRecord;
  /** Puts its files into the task's bundle. */
  fill: (bundle: string) => void;
}

interface Place {
  namespace: string;
  id: string;
}

/**
 * Ids of a user namespace that it takes, places on networks, and volumes are the container's then, also when it is not made.
 * @param isStarted whether it is started right after that
 * @throws Failure: not-found for an image that is not there, invalid-argument for wishes that can't be granted; the signal's reason
 */
export async function plan(
  engine: Engine,
  container: EngineContainer,
  request: CreateRequest,
  isStarted: boolean,
  signal: AbortSignal,
): Promise<Plan> {
  const { namespace, id, name, config, owner, autoRemove, lifetime, ttl } = request;
  checkNetworkWishes(config);
  await engine.networks.note(container, config);
  const image = config.image === "" ? undefined : await engine.images.resolve(namespace, config.image, signal);
  const hostFacts = await prepareHost(config, { systemdCgroup: engine.systemdCgroup, signal });
  const kept: KeptContainer = {
    version: 1,
    ...{ name, config, owner, autoRemove, lifetime },
    ttl: timeToLive(ttl),
    request: fingerprint(request),
    imageDigest: image?.digest ?? "",
    idMaps: idMapsOf(engine, config, image, hostFacts),
  };
  if (isStarted) kept.attached = await engine.networks.take(container, config, exposedPortsOf(config, image));
  kept.volumes = await takeVolumes(engine, request, config, image, signal);
  const { spec, process, fill } = await specOf(engine, request, kept, image, hostFacts, signal);
  const { args, env, cwd, user } = process;
  if (image !== undefined && isSignal(image.config.stopSignal)) kept.imageStopSignal = image.config.stopSignal;
  kept.process = { args, env, cwd, user };
  kept.check = resolveCheck(config.health, image?.config);
  const hasSnapshot = needsSnapshot(kept);
  const isOnLayers = image !== undefined && image.chainId !== "" && !hasSnapshot;
  const record: NewRecord = {
    id,
    labels: { ...config.labels, ...(isOnLayers && { [LAYERS_LABEL]: image.chainId }) },
    image: config.image,
    runtime: { name: RUNTIME },
    spec: { typeUrl: SPEC, value: spec },
    snapshotter: SNAPSHOTTER,
    snapshotKey: hasSnapshot ? id : "",
    extensions: withKept({}, kept),
    sandbox: "",
  };
  return { kept, image, record, fill };
}

/** Of the image, where somebody wants to know: `80/tcp`. */
export function exposedPortsOf({ publishAll }: ContainerConfig, image: ResolvedImage | undefined): readonly string[] {
  return publishAll ? (image?.config.exposedPorts ?? []) : [];
}

/** Whether it has one of its own: to write to, or of layers whose files belong to its own ids. */
export function needsSnapshot({ config, idMaps }: Pick<KeptContainer, "config" | "idMaps">): boolean {
  return config.writable || (idMaps !== undefined && config.image !== "");
}

function idMapsOf(
  engine: Engine,
  { userns, writable }: ContainerConfig,
  image: ResolvedImage | undefined,
  host: HostFacts,
): KeptContainer["idMaps"] {
  if (userns.mode === "host") return undefined;
  if (image !== undefined || writable) checkIdMappedLayers(userns.mode, host.kernel);
  const { uids, gids } = userns.mode === "map" ? userns : engine.idRanges.take();
  return { uids: [...uids], gids: [...gids] };
}

/**
 * What a runtime gets of a container, made of what holds now.
 * @throws Failure; the signal's reason
 */
export async function specOf(
  engine: Engine,
  { namespace, id }: Place,
  kept: KeptContainer,
  image: ResolvedImage | undefined,
  host: HostFacts,
  signal: AbortSignal,
): Promise<{ spec: Buffer; process: OciSpec["process"]; fill: (bundle: string) => void }> {
  const { config, idMaps } = kept;
  const user = await resolved(engine, namespace, config, image, signal);
  const directory = engine.tasks.directoryOf({ namespace, id });
  const bundle = bundleIn(directory);
  const joined = await joinedOf(engine, namespace, config, signal);
  if (config.ipc.mode === "shareable") joined.shm = sharedMemoryIn(directory);
  const spec = buildSpec({
    ...{ id, config, image: image?.config, user, host, idMaps },
    root: { path: config.rootfs !== "" && !config.writable ? config.rootfs : "rootfs", readOnly: config.readOnly },
    joined,
    files: { ...ownFiles(bundle), ...joined.files },
    volumes: volumeSources(engine, { namespace, id }, kept),
    init: config.init || config.idle ? findInit() : undefined,
  });
  return {
    spec: Buffer.from(stringifyJson(spec)),
    process: spec.process,
    fill: await filesOf(engine, { namespace, id }, config, host, signal),
  };
}

/** What puts a container's own files into its bundle. @throws Failure; the signal's reason */
export async function filesOf(
  engine: Engine,
  { namespace, id }: Place,
  config: ContainerConfig,
  host: HostFacts,
  signal: AbortSignal,
): Promise<(bundle: string) => void> {
  const texts = await containerFiles(
    config,
    hostnameOf({ id, config, host }),
    signal,
    engine.networks.addressesOf({ namespace, id }),
  );
  return (bundle) => {
    for (const [name, file] of Object.entries(FILES))
      writeFileSync(join(bundle, file), texts[name as keyof ContainerFileTexts], { mode: 0o644 });
  };
}

/** What they are called in the bundle. */
const FILES: Record<keyof ContainerFileTexts, string> = {
  hosts: "hosts",
  hostname: "hostname",
  resolvConf: "resolv.conf",
};

/** Where a container's own files are, in its bundle. */
export function ownFiles(bundle: string): Record<keyof ContainerFileTexts, string> {
  const { hosts, hostname, resolvConf } = FILES;
  return { hosts: join(bundle, hosts), hostname: join(bundle, hostname), resolvConf: join(bundle, resolvConf) };
}

async function resolved(
  engine: Engine,
  namespace: string,
  config: ContainerConfig,
  image: ResolvedImage | undefined,
  signal: AbortSignal,
): Promise<ResolvedUser> {
  const user = userOf(config, image?.config);
  const where = image === undefined ? `rootfs ${config.rootfs}` : `image ${image.name}`;
  const look = (root: number, signal?: AbortSignal) => resolveUser(root, user, config.groupAdd, { where, signal });
  if (image !== undefined) {
    const key = JSON.stringify([namespace, image.chainId, user, config.groupAdd]);
    return await engine.users.get(key, signal, () => engine.images.lookInto(namespace, image.chainId, look));
  }
  const root = await openDirectory(config.rootfs, signal);
  try {
    return await look(root, signal);
  } finally {
    closeSync(root);
  }
}

/**
 * A container's `rootfs`.
 *
 * @returns a descriptor, to be closed.
 * @throws Failure: invalid-argument, deadline-exceeded; the signal's reason
 */
export async function openDirectory(path: string, signal?: AbortSignal): Promise<number> {
  try {
    return await openForeignDirectory(path, signal);
  } catch (error) {
    if (error instanceof Failure || signal?.aborted) throw error;
    throw refusal(`rootfs ${JSON.stringify(path)}: ${(error as Error).message}`, "rootfs");
  }
}

/** Of a container's layer over a directory of the host, whose file system answers. @throws Failure; the signal's reason */
export async function mountsOverDirectory(
  engine: Engine,
  { namespace, id }: Place,
  path: string,
  signal?: AbortSignal,
): Promise<Mount[]> {
  const why = (text: string) => refusal(`rootfs ${JSON.stringify(path)}: ${text}`, "rootfs");
  const info = await onForeignFiles(
    path,
    () =>
      stat(path).catch((error) => {
        throw why(error.message);
      }),
    signal,
  );
  if (!info.isDirectory()) throw why("it is not a directory");
  return await engine.snapshots.mountsOver(namespace, id, path);
}

/** `files` are those in which a network says what it is called there. */
type Joined = JoinedNamespaces & { shm?: string | undefined; files?: Pick<ContainerFiles, "hosts" | "resolvConf"> };

/** The namespaces of other containers that one is to join. @throws Failure: not-found, failed-precondition for one that does not run */
async function joinedOf(
  engine: Engine,
  namespace: string,
  { network, pid, ipc, uts, cgroupns }: ContainerConfig,
  signal: AbortSignal,
): Promise<Joined> {
  const joined: Joined = {};
  const wanted = { network, pid, ipc, uts, cgroup: cgroupns };
  for (const [name, mode] of Object.entries(wanted)) {
    if (mode.mode !== "container") continue;
    const other = await engine.find(namespace, mode.container, signal);
    if (name === "ipc") joined.shm = await sharedMemoryOf(engine, other);
    if (name === "network") joined.files = await networkFilesOf(engine, other);
    const file = name === "network" ? "net" : name;
    joined[name as keyof JoinedNamespaces] = `/proc/${runningTask(engine, other).init!.systemPid}/ns/${file}`;
  }
  return joined;
}

/**
 * What a container has at /dev/shm, as far as others can have it, too.
 * @throws Failure (failed-precondition) for a container that keeps its IPC namespace to itself
 */
async function sharedMemoryOf(engine: Engine, { namespace, id }: EngineContainer): Promise<string | undefined> {
  const record = await engine.containers.get(namespace, id);
  const { mode } = keptOf(record)!.config.ipc;
  if (mode === "private" || mode === "none") {
    const why =
      `ipc "container": container ${JSON.stringify(id)} has ipc "${mode}": ` +
      'only of one with "shareable" or "host" others may join it';
    throw new Failure("failed-precondition", "refused", { why });
  }
  return bindSourceOf(record, "/dev/shm");
}

/** Who is in a container's network calls others as that one does. */
async function networkFilesOf(engine: Engine, { namespace, id }: EngineContainer): Promise<Joined["files"]> {
  const record = await engine.containers.get(namespace, id);
  return { hosts: bindSourceOf(record, "/etc/hosts"), resolvConf: bindSourceOf(record, "/etc/resolv.conf") };
}

function bindSourceOf({ spec }: Pick<ContainerRecord, "spec">, place: string): string | undefined {
  const { mounts = [] } = JSON.parse(spec!.value.toString("utf8")) as Pick<OciSpec, "mounts">;
  return mounts.find(({ destination, type }) => destination === place && type === "bind")?.source;
}

/**
 * @param mounts of its snapshot, if it has one
 * @throws Failure; the signal's reason
 */
export async function rootOf(
  engine: Engine,
  { namespace, id }: Place,
  { config, owner }: Pick<KeptContainer, "config" | "owner">,
  chainId: string,
  mounts: readonly Mount[] | undefined,
  signal: AbortSignal,
): Promise<RootFileSystem> {
  if (config.rootfs !== "") {
    if (!config.writable) return DIRECTORY_AS_ROOT;
    return directoryBelow(await mountsOverDirectory(engine, { namespace, id }, config.rootfs, signal));
  }
  if (mounts !== undefined && config.writable) return snapshotAsRoot(mounts, owner !== undefined);
  const layers = mounts === undefined ? await engine.images.layers(namespace, chainId) : mounts.flatMap(directoriesOf);
  return layersAsRoot(layers, bundleIn(engine.tasks.directoryOf({ namespace, id })));
}
