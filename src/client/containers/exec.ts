import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { type CallOptions, callChecks } from "../api/call-options.js";
import type { EngineApi } from "../api/engine.js";
import { ownedFolderPrefix } from "../bundle/owned-folders.js";
import { argsCheck } from "../bundle/spec.js";
import { ContainerdError } from "../errors/containerd-error.js";
import { explainFailure } from "../errors/failure-causes.js";
import { positiveDuration } from "../options/duration.js";
import { type Environment, environmentCheck } from "../options/environment.js";
import { absolutePath, type Checks, checkOptions, flag, pathText } from "../options/option-checks.js";
import { Stdio } from "../streams/stdio.js";
import { type Collected, CollectedRun, type CollectOptions, collectChecks } from "./collected-run.js";
import { userOrId } from "./container-checks.js";
import { lifetimeOf, variablesOf } from "./container-config.js";
import { ContainerProcess } from "./container-process.js";
import { closeStdinOf, DRAIN_TIMEOUT, isUnanswered } from "./run.js";

/** What every process that is run in a container takes. */
export interface CommonExecOptions {
  /** Over the container's. */
  env?: Environment | undefined;
  /** `NAME`, `NAME:GROUP`, `UID:GID` or a uid. Default: the container's. */
  user?: string | number | undefined;
  /** Absolute. Default: the container's. */
  workdir?: string | undefined;
  /** Whether it has every capability. Default: false. */
  privileged?: boolean | undefined;
  /** Where the FIFOs are made; the daemon must see it at the same path. Default: the system's temporary directory. */
  stdioDir?: string | undefined;
}

/** An exec that is run to its end, whose output is text. */
export interface ExecOptions extends CommonExecOptions, CollectOptions {
  encoding?: "utf8" | undefined;
}

/** The same, whose output is bytes. */
export interface ExecBufferOptions extends CommonExecOptions, CollectOptions<Buffer> {
  encoding: "buffer";
}

export interface SpawnOptions extends CommonExecOptions, CallOptions {
  /** Whether it has a terminal: there is no stderr then. Default: false. */
  tty?: boolean | undefined;
  /** Whether it has a stdin that can be written to. Default: true. */
  input?: boolean | undefined;
  /** Milliseconds until the daemon kills it. Default: none. */
  lifetime?: number | undefined;
}

export interface ExecResult<Output = string> {
  stdout: Output;
  stderr: Output;
  /** The exit code; 128 + N when signal N killed it. */
  status: number;
  /** Whether the kernel has killed a process of the container for lack of memory. */
  oomKilled: boolean;
  /** Milliseconds from the answer to the start to the end. */
  duration: number;
}

const commonChecks: Checks<CommonExecOptions> = {
  env: environmentCheck,
  user: userOrId,
  workdir: absolutePath,
  privileged: flag,
  stdioDir: pathText,
};

const execChecks: Checks<ExecOptions | ExecBufferOptions> = { ...commonChecks, ...collectChecks };

const spawnChecks: Checks<SpawnOptions> = {
  ...commonChecks,
  ...callChecks,
  tty: flag,
  input: flag,
  lifetime: positiveDuration,
};

/** `container.exec` */
export async function execIn(
  api: EngineApi,
  id: string,
  args: readonly string[],
  options: ExecOptions | ExecBufferOptions,
): Promise<ExecResult | ExecResult<Buffer>> {
  argsCheck(args, "args");
  checkOptions(options, execChecks);
  const { input, timeout } = options;
  const run = new CollectedRun(options, options.encoding);
  const result = await run.complete("the process", id, async (signal) => {
    const begun = await begin(
      api,
      id,
      args,
      options,
      { input: input !== undefined, tty: false, lifetime: timeout },
      signal,
    );
    const { execId, stdio } = begun;
    try {
      run.started(stdio);
      const exit = await api.again((signal) => api.calls.wait({ id, execId }, { signal }), { signal });
      run.exited();
      stdio.finish();
      if (exit.timedOut) run.end("timeout");
      else if (exit.expired) run.end("expired");
      await Promise.all([stdio.drained(DRAIN_TIMEOUT), forget(api, id, execId)]);
      return { status: exit.status, oomKilled: exit.oomKilled };
    } catch (error) {
      await end(api, id, execId).catch(() => {});
      throw error;
    } finally {
      stdio.close();
    }
  });
  return result as typeof result & (ExecResult | ExecResult<Buffer>) & Collected;
}

/** `container.spawn` */
export async function spawnIn(
  api: EngineApi,
  id: string,
  args: readonly string[],
  options: SpawnOptions,
): Promise<ContainerProcess> {
  argsCheck(args, "args");
  checkOptions(options, spawnChecks);
  const { tty = false, input = true, lifetime, signal } = options;
  const { execId, stdio, pid } = await begin(api, id, args, options, { tty, input, lifetime }, signal, options.timeout);
  return new ContainerProcess(api, { containerId: id, execId, pid }, stdio);
}

/** A start that fails leaves nothing. */
async function begin(
  api: EngineApi,
  id: string,
  args: readonly string[],
  { env, user = "", workdir = "", privileged = false, stdioDir }: CommonExecOptions,
  { input, tty, lifetime }: { input: boolean; tty: boolean; lifetime: number | undefined },
  signal: AbortSignal | undefined,
  timeout?: number,
): Promise<{ execId: string; pid: number; stdio: Stdio }> {
  const execId = randomBytes(32).toString("hex");
  const closeStdin = () => closeStdinOf(api, id, execId);
  const stdio = new Stdio({ dir: stdioDir, terminal: tty, input, closeStdin }, ownedFolderPrefix());
  const request = {
    ...{ id, execId, args: [...args], env: variablesOf(env), user: String(user), workdir, tty, privileged },
    stdio: stdio.paths,
    timeout: lifetimeOf(lifetime),
  };
  try {
    const { pid } = await api.again((signal) => api.calls.exec(request, { signal }), { signal, timeout });
    return { execId, pid, stdio };
  } catch (error) {
    stdio.close();
    if (isUnanswered(error, signal ?? new AbortController().signal)) await end(api, id, execId).catch(() => {});
    throw explainFailure(error, {
      workdirOption: "workdir",
      containerId: id,
      name: execId,
      stdioDir: stdioDir ?? tmpdir(),
    });
  }
}

/** Kills it, if it runs, with what it has started, and forgets it. */
async function end(api: EngineApi, id: string, execId: string): Promise<void> {
  await api.cleaningUp(async (signal) => {
    const call = { signal };
    await api
      .again((signal) => api.calls.kill({ id, execId, signal: "9", all: true }, { signal }), call)
      .catch(() => {});
    await api.again((signal) => api.calls.wait({ id, execId }, { signal }), call);
    await forget(api, id, execId, signal);
  });
}

async function forget(api: EngineApi, id: string, execId: string, signal?: AbortSignal): Promise<void> {
  try {
    await api.again((signal) => api.calls.deleteExec({ id, execId }, { signal }), { signal });
  } catch (error) {
    if (!(error instanceof ContainerdError && error.isNotFound)) throw error;
  }
}
