import { tmpdir } from "node:os";
import { resolve } from "node:path";
import type { EngineApi } from "../api/engine.js";
import { ownedFolderPrefix, removeAbandonedFoldersOnce } from "../bundle/owned-folders.js";
import { ContainerdError } from "../errors/containerd-error.js";
import { explainFailure } from "../errors/failure-causes.js";
import type { Images } from "../images/images.js";
import { pause } from "../options/duration.js";
import { type Checks, checkOptions, nameText, pathText } from "../options/option-checks.js";
import { Stdio } from "../streams/stdio.js";
import { type Collected, CollectedRun, type CollectOptions, collectChecks } from "./collected-run.js";
import { checkTogether, containerChecks } from "./container-checks.js";
import { configOf, createRequest } from "./container-config.js";
import type { ContainerOptions } from "./container-options.js";
import { type Usage, usageOf } from "./exit.js";
import { withImage } from "./wanted-image.js";

interface CommonRunOptions extends ContainerOptions {
  /** By which the container can be found while it runs. Default: none. */
  name?: string | undefined;
  /** Where the FIFOs are made; the daemon must see it at the same path. Default: the system's temporary directory. */
  stdioDir?: string | undefined;
}

/** A run whose output is text. */
export interface RunOptions extends CommonRunOptions, CollectOptions {
  encoding?: "utf8" | undefined;
}

/** A run whose output is bytes. */
export interface RunBufferOptions extends CommonRunOptions, CollectOptions<Buffer> {
  encoding: "buffer";
}

export const runChecks: Checks<RunOptions | RunBufferOptions> = {
  ...containerChecks,
  ...collectChecks,
  name: nameText,
  stdioDir: pathText,
};

export interface RunResult<Output = string> {
  stdout: Output;
  stderr: Output;
  /** The exit code; 128 + N when signal N killed it. */
  status: number;
  /** Whether the kernel has killed a process of the container for lack of memory. */
  oomKilled: boolean;
  /** Always false: a run that took too long is a {@link RunError}, whose `timedOut` is true. */
  timedOut: false;
  /** Milliseconds from the answer to the start to the end. */
  duration: number;
  usage: Usage;
}

/** What containers of images need. */
export interface EngineParts {
  api: EngineApi;
  images: Images;
}

/**
 * Milliseconds before each look for the container of a start that was called off. HTTP/2 may deliver that after calls that were made later.
 */
const REMOVAL_PAUSES = [0, 20, 100];
/** Milliseconds in which what an ended process has printed last is read. */
export const DRAIN_TIMEOUT = 30_000;

/** {@link Client.run}. */
export async function runContainer(
  { api, images }: EngineParts,
  options: RunOptions | RunBufferOptions,
): Promise<RunResult | RunResult<Buffer>> {
  checkOptions(options, runChecks);
  checkTogether(options);
  const { name, input, timeout, stdioDir, rootfs } = options;
  const config = configOf(options, "run", false, input !== undefined);
  const create = createRequest({ name, config, owned: api.knowsCaller, lifetime: timeout });
  const { id } = create;
  const run = new CollectedRun(options, options.encoding);
  const result = await run.complete("the container", id, async (signal) => {
    if (stdioDir !== undefined) removeAbandonedFoldersOnce(resolve(stdioDir));
    const closeStdin = () => closeStdinOf(api, id, "");
    const stdio = new Stdio({ dir: stdioDir, input: input !== undefined, closeStdin }, ownedFolderPrefix());
    let answered = false;
    try {
      const start = () => api.again((signal) => api.calls.run({ create, stdio: stdio.paths }, { signal }), { signal });
      await withImage(images, options, { signal }, start);
      answered = true;
      run.started(stdio);
      const exit = await api.again((signal) => api.calls.wait({ id }, { signal }), { signal });
      run.exited();
      stdio.finish();
      if (exit.timedOut) run.end("timeout");
      await Promise.all([stdio.drained(DRAIN_TIMEOUT), remove(api, id)]);
      if (exit.error !== "") throw new ContainerdError("FAILED_PRECONDITION", exit.error, { containerId: id });
      const { status, oomKilled } = exit;
      return { status, oomKilled, timedOut: false as const, usage: usageOf(exit.usage) };
    } catch (error) {
      // That it can't be removed as well is not what went wrong first.
      if (answered || isUnanswered(error, signal)) await retract(api, id).catch(() => {});
      throw answered
        ? error
        : explainFailure(error, {
            workdirOption: "workdir",
            containerId: id,
            name: "init",
            rootfs,
            stdioDir: stdioDir ?? tmpdir(),
          });
    } finally {
      stdio.close();
    }
  });
  return result as typeof result & (RunResult | RunResult<Buffer>) & Collected;
}

/** Whether a call may have been made all the same. */
export function isUnanswered(error: unknown, signal: AbortSignal): boolean {
  return (
    signal.aborted || (error instanceof ContainerdError && ["DEADLINE_EXCEEDED", "UNAVAILABLE"].includes(error.code))
  );
}

async function remove(api: EngineApi, id: string, signal?: AbortSignal): Promise<void> {
  try {
    await api.again((signal) => api.calls.remove({ id, force: true }, { signal }), { signal });
  } catch (error) {
    if (!(error instanceof ContainerdError && error.isNotFound)) throw error;
  }
}

/** Removes what a call may have made that was called off. A daemon that does not answer removes by itself what is nobody's any more. */
export async function retract(api: EngineApi, id: string): Promise<void> {
  await api.cleaningUp(async (signal) => {
    for (const ms of REMOVAL_PAUSES) {
      await pause(ms, signal);
      await remove(api, id, signal);
    }
  });
}

/** @param execId "" is the container's own process */
export async function closeStdinOf(api: EngineApi, id: string, execId: string): Promise<void> {
  try {
    await api.again((signal) => api.calls.closeStdin({ id, execId }, { signal }));
  } catch (error) {
    // One that has ended needs no end of its input.
    if (!(error instanceof ContainerdError && (error.isNotFound || error.code === "FAILED_PRECONDITION"))) throw error;
  }
}
