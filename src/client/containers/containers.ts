import { tmpdir } from "node:os";
import type { CreateRequest } from "../../proto/containerdts/engine/v1/engine.js";
import { withTimeout } from "../abortable.js";
import { type CallOptions, callChecks } from "../api/call-options.js";
import { ContainerdError } from "../errors/containerd-error.js";
import { explainFailure } from "../errors/failure-causes.js";
import { positiveDuration } from "../options/duration.js";
import { type Checks, checkOptions, flag, listOf, nameText, oneOf } from "../options/option-checks.js";
import { type WaitFor, waitForCheck } from "../readiness/wait-options.js";
import { Container, type ContainerStdio, CreatedContainer, stdioChecks } from "./container.js";
import { checkTogether, containerChecks } from "./container-checks.js";
import { configOf, createRequest } from "./container-config.js";
import { type ContainerStatus, infoOf } from "./container-info.js";
import type { ContainerOptions } from "./container-options.js";
import { labelsCheck, labelsOf, type WantedLabels } from "./labels.js";
import { type EngineParts, isUnanswered, retract } from "./run.js";
import { withImage } from "./wanted-image.js";

export interface CreateOptions extends ContainerOptions, CallOptions {
  /** Default: none. */
  name?: string | undefined;
  /** 64 hexadecimal digits that no other container has. Default: random ones. */
  id?: string | undefined;
  /** Whether its first process has a terminal: there is no stderr then. Default: false. */
  tty?: boolean | undefined;
  /** Whether its first process has a stdin that can be written to. Default: false; of `start` with `stdio: "pipe"` true. */
  openStdin?: boolean | undefined;
  /** Whether it ends and goes with this program, however that ends. Default: false. */
  owned?: boolean | undefined;
  /** Whether it is removed as soon as it has stopped. Default: false. */
  autoRemove?: boolean | undefined;
  /** Milliseconds after its start; then the daemon kills it. Default, and with Infinity: none. */
  lifetime?: number | undefined;
  /** Milliseconds from now; then the daemon kills and removes it. Default, and with Infinity: none. */
  ttl?: number | undefined;
}

export interface StartNewOptions extends CreateOptions {
  /** What it has to be before the call resolves. What is not ready in time is removed, and is an error that shows its last lines. */
  waitFor?: WaitFor | undefined;
  /** Milliseconds that `waitFor` may take. Default: 60,000. */
  readyTimeout?: number | undefined;
  /** Default: "ignore". */
  stdio?: ContainerStdio | undefined;
  /** Where the FIFOs are made; the daemon must see it at the same path. Default: the system's temporary directory. */
  stdioDir?: string | undefined;
}

export interface ListOptions extends CallOptions {
  /** All of them hold: `{ tier: "web" }`, where `true` is any value; or `NAME`, `NAME=value`. */
  labels?: WantedLabels | undefined;
  /** One of them holds. */
  status?: ContainerStatus | readonly ContainerStatus[] | undefined;
  names?: readonly string[] | undefined;
}

export interface PruneOptions extends CallOptions {
  labels?: ListOptions["labels"];
}

export interface PruneResult {
  /** The ids of those that were removed. */
  removed: string[];
  /** In bytes. */
  freed: number;
}

const createChecks: Checks<CreateOptions> = {
  ...containerChecks,
  ...callChecks,
  name: nameText,
  id: nameText,
  tty: flag,
  openStdin: flag,
  owned: flag,
  autoRemove: flag,
  lifetime: positiveDuration,
  ttl: positiveDuration,
};

const startChecks: Checks<StartNewOptions> = {
  ...createChecks,
  ...stdioChecks,
  waitFor: waitForCheck,
  readyTimeout: positiveDuration,
};

const STATUSES: readonly ContainerStatus[] = ["created", "running", "paused", "restarting", "stopped"];

const statusCheck = (value: unknown, name: string) => {
  const one = oneOf(...STATUSES);
  if (Array.isArray(value)) listOf(one)(value, name);
  else one(value, name);
};

const listChecks: Checks<ListOptions> = {
  ...callChecks,
  labels: labelsCheck,
  status: statusCheck,
  names: listOf(nameText),
};
const pruneChecks: Checks<PruneOptions> = { ...callChecks, labels: labelsCheck };

/** The containers of a namespace that were made of images or root file systems; those of `create` and `start` have Docker's defaults. */
export class Containers {
  readonly #parts: EngineParts;

  /** @internal */
  constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  /** The containers of another namespace. */
  in(namespace: string): Containers {
    nameText(namespace, "namespace");
    const { api, images } = this.#parts;
    return new Containers({ api: api.in(namespace), images: images.in(namespace) });
  }

  /**
   * Makes a container, which does not run yet. What fails leaves nothing.
   *
   * @throws ContainerdError whose `kind` and message say what is wrong; TypeError or RangeError for options that make no sense
   * @example
   * await using container = await client.containers.create({ image: "alpine", args: ["sleep", "1000"], name: "web" });
   * await container.start();
   */
  async create(options: CreateOptions): Promise<CreatedContainer> {
    checkOptions(options, createChecks);
    checkTogether(options);
    const { api } = this.#parts;
    const request = this.#request(options, options.openStdin);
    return await made(this.#parts, options, request.id, async (call) => {
      const { warnings } = await api.again((signal) => api.calls.create(request, { signal }), call);
      return new CreatedContainer(api, request.id, warnings);
    });
  }

  /**
   * Makes a container and has it run. What fails leaves nothing.
   *
   * @example
   * await using container = await client.containers.start({ image: "alpine", args: ["sh", "-c", "while :; do date; sleep 1; done"] });
   * const { stdout } = await container.exec(["ps"]);
   */
  async start(options: StartNewOptions): Promise<CreatedContainer> {
    checkOptions(options, startChecks);
    checkTogether(options);
    const create = this.#request(options, options.openStdin ?? options.stdio === "pipe");
    const container = await startNew(this.#parts, options, create, new CreatedContainer(this.#parts.api, create.id));
    const { waitFor, readyTimeout: timeout, signal } = options;
    if (waitFor === undefined) return container;
    try {
      await container.waitFor(waitFor, { timeout, signal });
    } catch (error) {
      // That it can't be removed as well is not what went wrong first.
      await container.remove({ force: true }).catch(() => {});
      throw error;
    }
    return container;
  }

  /** By its id, the beginning of one, or its name. @throws ContainerdError, `isNotFound` when there is none */
  async get(id: string, options: CallOptions = {}): Promise<Container> {
    nameText(id, "id");
    checkOptions(options, callChecks);
    const { api } = this.#parts;
    const info = infoOf(await api.calls.get({ id }, options));
    return new Container(api, info.id, info);
  }

  /**
   * Those that there are, running or not, with their `info`.
   *
   * @example
   * for (const container of await client.containers.list({ labels: { job: "42" }, status: "stopped" })) await container.remove();
   */
  async list(options: ListOptions = {}): Promise<Container[]> {
    checkOptions(options, listChecks);
    const { labels, status = [], names = [], ...call } = options;
    const { api } = this.#parts;
    const request = { labels: labelsOf(labels), statuses: [status].flat() as string[], names: [...names] };
    const { containers } = await api.calls.list(request, call);
    return containers.map((message) => new Container(api, message.id, infoOf(message)));
  }

  /** Removes those that do not run. */
  async prune(options: PruneOptions = {}): Promise<PruneResult> {
    checkOptions(options, pruneChecks);
    const { labels, ...call } = options;
    const { ids, freed } = await this.#parts.api.calls.prune({ labels: labelsOf(labels) }, call);
    return { removed: ids, freed: Number(freed) };
  }

  #request(options: CreateOptions, openStdin = false) {
    const { id, name, tty, owned, lifetime, ttl, autoRemove } = options;
    const config = configOf(options, "docker", tty, openStdin);
    return createRequest({ id, name, config, owned, lifetime, ttl, autoRemove });
  }
}

/**
 * @internal Has a new container run.
 * @param container the object for it
 */
export async function startNew<T extends CreatedContainer>(
  parts: EngineParts,
  options: StartNewOptions,
  create: CreateRequest,
  container: T,
): Promise<T> {
  const { api } = parts;
  return await made(parts, options, create.id, async (call) => {
    let warnings: readonly string[] = [];
    const { stdio, stdioDir } = options;
    await container.startWith(
      { stdio, stdioDir, ...call },
      async ({ paths }, call) => {
        const answer = await api.again((signal) => api.calls.run({ create, stdio: paths }, { signal }), call);
        warnings = answer.warnings;
        return answer;
      },
      options.tty,
    );
    return Object.assign(container, { warnings });
  });
}

async function made<T>(
  { api, images }: EngineParts,
  options: StartNewOptions,
  id: string,
  make: (call: CallOptions) => Promise<T>,
): Promise<T> {
  const { signal, timeout, rootfs, stdioDir = tmpdir() } = options;
  try {
    const late = () => new ContainerdError("DEADLINE_EXCEEDED", `it was not there within ${timeout} ms`);
    return await withTimeout(
      (signal) => withImage(images, options, { signal }, () => make({ signal })),
      { signal, timeout },
      late,
    );
  } catch (error) {
    // It may have been made all the same; another's id is not touched.
    const ours = options.id === undefined && isUnanswered(error, signal ?? new AbortController().signal);
    if (ours) await retract(api, id).catch(() => {});
    if (error instanceof ContainerdError && error.code === "ALREADY_EXISTS") throw error;
    throw explainFailure(error, { workdirOption: "workdir", containerId: id, name: "init", rootfs, stdioDir });
  }
}
