import { abortable } from "../abortable.js";
import { checkTogether, containerChecks } from "../containers/container-checks.js";
import { configOf, createRequest } from "../containers/container-config.js";
import type { ContainerLimits, ContainerOptions } from "../containers/container-options.js";
import { startNew } from "../containers/containers.js";
import type { EngineParts } from "../containers/run.js";
import { ContainerdError } from "../errors/containerd-error.js";
import { positiveDuration, startTimer } from "../options/duration.js";
import { type Checks, pathText, that } from "../options/option-checks.js";
import { REMOVAL_TIMEOUT, Sandbox } from "./sandbox.js";

/** What a sandbox may use when its options don't say otherwise, one by one. */
export const SANDBOX_LIMITS = { memory: 512 << 20, cpus: 1, pids: 256 } as const satisfies ContainerLimits;

/** In ms: an hour. */
export const DEFAULT_TTL = 3_600_000;
/** In ms. */
const DEFAULT_READY_TIMEOUT = 60_000;
/** In bytes: of the /tmp of a sandbox without a layer of its own. */
const TMP_SIZE = 64 << 20;

/** Settles when a sandbox is ready; the signal aborts when nobody waits for that any more. */
export type Readiness = (sandbox: Sandbox, signal: AbortSignal) => unknown;

/**
 * What a sandbox is made of, as of `client.run`: without `args` and `entrypoint` its first process only waits, and reaps; what is run in it
 * is run by `exec` and `spawn`.
 */
export interface SandboxOptions extends ContainerOptions {
  /** Default, for each that is not given: 512 MiB of memory, one processor, 256 processes and threads. */
  limits?: ContainerLimits | undefined;
  /** Default: `/tmp` of 64 MiB, for one of an image that is not `writable`. */
  tmpfs?: ContainerOptions["tmpfs"];
  /** Milliseconds until the daemon kills and removes it; it can be extended. Default: an hour. Infinity: none. */
  ttl?: number | undefined;
  /**
   * When it is ready: once its program (of `args`) has printed a text to its stdout, which is taken away, or once what a function returns
   * is settled. Default: as soon as it runs.
   */
  ready?: string | Readiness | undefined;
  /** Milliseconds that it may take to be ready. Default: 60,000. */
  readyTimeout?: number | undefined;
  /** Where FIFOs are made; the daemon must see it at the same path. Default: the system's temporary directory. */
  stdioDir?: string | undefined;
}

export const sandboxChecks: Checks<SandboxOptions> = {
  ...containerChecks,
  ttl: positiveDuration,
  ready: that("a text that is not empty, or a function", (value) =>
    typeof value === "string" ? value !== "" : typeof value === "function",
  ),
  readyTimeout: positiveDuration,
  stdioDir: pathText,
};

/** @throws TypeError */
export function checkSandbox(options: SandboxOptions): void {
  const isIdle = hasNoProgram(options);
  checkTogether(isIdle ? { ...options, entrypoint: ["/idle"] } : options);
  if (isIdle && typeof options.ready === "string")
    throw new TypeError('ready: "…" is what a program prints: args must say which one');
}

/** Whether its first process is one that does nothing. */
function hasNoProgram({ args, entrypoint }: SandboxOptions): boolean {
  return args === undefined && entrypoint === undefined;
}

/** Whether there may be processes in it before it is used that do something. */
export function isWarm(options: SandboxOptions): boolean {
  return !hasNoProgram(options) || options.ready !== undefined;
}

export interface Wanted {
  name?: string | undefined;
  owned: boolean;
  /** Milliseconds. */
  ttl: number;
  signal: AbortSignal | undefined;
}

/**
 * Makes a sandbox that runs and is ready. When it fails nothing is left.
 * @throws ContainerdError, what `ready` throws, the signal's reason
 */
export async function prepare(parts: EngineParts, options: SandboxOptions, wanted: Wanted): Promise<Sandbox> {
  const { name, owned, ttl, signal } = wanted;
  const { stdioDir } = options;
  const isIdle = hasNoProgram(options);
  const stdio = isIdle ? "ignore" : "pipe";
  const config = {
    ...configOf(withDefaults(options), "run", false, !isIdle),
    // It prints nothing.
    ...(isIdle && { idle: true, log: { driver: "none", maxSize: 0n, maxFiles: 0 } }),
  };
  const create = createRequest({ name, config, owned, ttl });
  const sandbox = new Sandbox(parts.api, create.id, { ttl: options.ttl ?? DEFAULT_TTL, owned, stdio, stdioDir });
  await startNew(parts, { ...options, stdio, signal }, create, sandbox);
  try {
    await readiness(sandbox, options, signal);
  } catch (error) {
    await sandbox.remove({ timeout: REMOVAL_TIMEOUT }).catch(() => {});
    throw error;
  }
  return sandbox;
}

function withDefaults(options: SandboxOptions): ContainerOptions {
  const { image, writable, tmpfs, limits } = options;
  const hasTmp = image !== undefined && !writable && tmpfs === undefined;
  return {
    ...options,
    limits: { ...SANDBOX_LIMITS, ...limits },
    ...(hasTmp && { tmpfs: { "/tmp": { size: TMP_SIZE } } }),
  };
}

async function readiness(
  sandbox: Sandbox,
  { ready, readyTimeout = DEFAULT_READY_TIMEOUT }: SandboxOptions,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (ready === undefined) return;
  const settled = new AbortController();
  const all = AbortSignal.any([settled.signal, ...(signal === undefined ? [] : [signal])]);
  const failed = (why: string) => new ContainerdError("FAILED_PRECONDITION", why, { containerId: sandbox.id });
  const stopTimer = startTimer(readyTimeout, () =>
    settled.abort(failed(`the sandbox was not ready within ${readyTimeout} ms`)),
  );
  const ended = sandbox.wait({ signal: all }).then(({ status }) => {
    settled.abort(failed(`the sandbox's first process has ended with status ${status} before it was ready`));
  });
  ended.catch(() => {});
  try {
    const isReady = typeof ready === "string" ? sandbox.printed(ready, all) : ready(sandbox, all);
    await abortable(Promise.resolve(isReady), all);
  } finally {
    stopTimer();
    settled.abort();
  }
}
