import type { Volume as VolumeMessage } from "../../proto/containerdts/engine/v1/volumes.js";
import { type CallOptions, callChecks } from "../api/call-options.js";
import type { EngineApi } from "../api/engine.js";
import { labelsCheck, labelsOf, type WantedLabels } from "../containers/labels.js";
import { anyText, type Checks, checkOptions, flag, nameText, wrong } from "../options/option-checks.js";
import { toDate } from "../timestamp.js";
import { volumeName } from "./volume-options.js";

/** A directory below the daemon's root that outlives containers. */
export interface VolumeInfo {
  name: string;
  labels: Record<string, string>;
  /** Nobody has given it a name. */
  anonymous: boolean;
  /** Of its files, on the daemon's machine; only root gets there. */
  path: string;
  createdAt: Date | undefined;
  /** Ids of the containers that have it, whether they run or not. */
  containers: string[];
  /** Bytes on the disk, where that was asked for. */
  size: number | undefined;
}

/** One that this program has made: `await using` removes it. */
export type CreatedVolume = VolumeInfo & AsyncDisposable;

export interface CreateVolumeOptions extends CallOptions {
  /** Default: 64 hexadecimal digits. */
  name?: string | undefined;
  labels?: Readonly<Record<string, string>> | undefined;
}

export interface GetVolumeOptions extends CallOptions {
  /** Whether its size is wanted: all of it is looked at for that. Default: false. */
  size?: boolean | undefined;
}

export interface ListVolumesOptions extends CallOptions {
  /** All of them hold: `{ tier: "web" }`, where `true` is any value; or `NAME`, `NAME=value`. */
  labels?: WantedLabels | undefined;
  /** Whether a container has it. Default: both. */
  used?: boolean | undefined;
}

export interface PruneVolumesOptions extends CallOptions {
  labels?: WantedLabels | undefined;
  /** Whether those that have a name, too. Default: false. */
  all?: boolean | undefined;
}

export interface PruneVolumesResult {
  /** Of those that were removed. */
  names: string[];
  /** Bytes on the disk. */
  freed: number;
}

const createChecks: Checks<CreateVolumeOptions> = {
  ...callChecks,
  name: volumeName,
  labels: (value, name) => {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw wrong(name, "an object of texts", value);
    for (const [label, content] of Object.entries(value)) anyText(content, `${name}.${label}`);
  },
};
const getChecks: Checks<GetVolumeOptions> = { ...callChecks, size: flag };
const listChecks: Checks<ListVolumesOptions> = { ...callChecks, labels: labelsCheck, used: flag };
const pruneChecks: Checks<PruneVolumesOptions> = { ...callChecks, labels: labelsCheck, all: flag };

/**
 * The volumes of a namespace, by their names. Methods throw ContainerdError, `isNotFound` for what there is not, and TypeError for options
 * that make no sense.
 */
export class Volumes {
  readonly #api: EngineApi;

  /** @internal */
  constructor(api: EngineApi) {
    this.#api = api;
  }

  /** The volumes of another namespace. */
  in(namespace: string): Volumes {
    nameText(namespace, "namespace");
    return new Volumes(this.#api.in(namespace));
  }

  /**
   * Makes a volume; answers with the one that is there, if it has these labels. A container's option `volumes` makes those that it names,
   * too.
   *
   * @throws ContainerdError "id-in-use" when there is one of that name with other labels
   * @example
   * await client.volumes.create({ name: "db", labels: { app: "shop" } });
   * await client.containers.start({ image: "postgres", volumes: { "/var/lib/postgresql/data": "db" } });
   */
  async create(options: CreateVolumeOptions = {}): Promise<CreatedVolume> {
    checkOptions(options, createChecks);
    const { name = "", labels, ...call } = options;
    const made = infoOf(await this.#api.volumes.create({ name, labels: { ...labels } }, call));
    return Object.defineProperty(made, Symbol.asyncDispose, { value: () => this.remove(made.name) }) as CreatedVolume;
  }

  async get(name: string, options: GetVolumeOptions = {}): Promise<VolumeInfo> {
    nameText(name, "name");
    checkOptions(options, getChecks);
    const { size = false, ...call } = options;
    return infoOf(await this.#api.volumes.get({ name, size }, call));
  }

  /** By their names. */
  async list(options: ListVolumesOptions = {}): Promise<VolumeInfo[]> {
    checkOptions(options, listChecks);
    const { labels, used, ...call } = options;
    return (await this.#api.volumes.list({ labels: labelsOf(labels), used }, call)).volumes.map(infoOf);
  }

  /** Removes a volume with its files. @throws ContainerdError "wrong-state" while a container has it, whether that runs or not */
  async remove(name: string, options: CallOptions = {}): Promise<void> {
    nameText(name, "name");
    checkOptions(options, callChecks);
    await this.#api.volumes.remove({ name }, options);
  }

  /** Removes those that no container has: those without a name, or all. */
  async prune(options: PruneVolumesOptions = {}): Promise<PruneVolumesResult> {
    checkOptions(options, pruneChecks);
    const { labels, all = false, ...call } = options;
    const { names, freed } = await this.#api.volumes.prune({ labels: labelsOf(labels), all }, call);
    return { names, freed: Number(freed) };
  }
}

function infoOf({ createdAt, size, ...same }: VolumeMessage): VolumeInfo {
  return { ...same, createdAt: createdAt && toDate(createdAt), size: size === undefined ? undefined : Number(size) };
}
