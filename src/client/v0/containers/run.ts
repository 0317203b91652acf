import type { Writable } from "node:stream";
import { ContainerdError } from "../../errors/containerd-error.js";
import { pause, positiveDuration, startTimer } from "../../options/duration.js";
import { type Checks, checkOptions, number, oneOf } from "../../options/option-checks.js";
import { OutputCollector } from "../../streams/output-collector.js";
import { feed, inputCheck, type RunInput } from "../../streams/process-input.js";
import type { ExitStatus } from "../events/exit-watch.js";
import type { ContainerStats } from "./container-stats.js";
import { type Containers, type StartBuiltOptions, startBuiltChecks } from "./containers.js";
import type { StartedContainer } from "./started-container.js";

/** What is {@link run}'s own business. */
type NotOfRun = "stdio" | "terminal" | "timeout" | "owned" | "lifetime" | "checkpoint" | "checkpointDir" | "bundle";

interface CommonRunOptions extends Omit<StartBuiltOptions, NotOfRun> {
  /** What the command reads from its stdin. Default: nothing. A stream is read only as fast as the command reads. */
  input?: RunInput | undefined;
  /** Milliseconds from the call; then the container is killed and {@link RunError} thrown. Default, and with Infinity: no limit. */
  timeout?: number | undefined;
  /** Ends the run; the call throws its reason once nothing is left. */
  signal?: AbortSignal | undefined;
  /** Bytes of stdout, and of stderr, from which on the container is killed and {@link RunError} thrown. Default: 16 MiB. */
  maxOutput?: number | undefined;
}

/** A run whose output is text. */
export interface RunOptions extends CommonRunOptions {
  encoding?: "utf8" | undefined;
}

/** A run whose output is bytes. */
export interface RunBufferOptions extends CommonRunOptions {
  encoding: "buffer";
}

const { stdio, terminal, owned, lifetime, checkpoint, checkpointDir, ...ofStart } = startBuiltChecks;

export const runChecks: Checks<RunOptions | RunBufferOptions> = {
  ...ofStart,
  timeout: positiveDuration,
  maxOutput: number("a number of bytes", (value) => value >= 0),
  encoding: oneOf("utf8", "buffer"),
  input: inputCheck,
};

/**
 * What a run used: by what was counted at its end, or by samples taken while it ran: at its start, then more and more rarely, once a second
 * in the end.
 */
export interface RunStats {
  /** Milliseconds from the answer to the start to the end. */
  duration: number;
  /** Milliseconds of processor time up to the last sample; undefined when the run was too short for one. */
  cpuTime: number | undefined;
  /**
   * The most memory in bytes, as the kernel has kept it; up to the last sample, of a run that was ended early, and with a daemon that does
   * not tell it.
   */
  memoryPeak: number | undefined;
  /** The last sample. */
  last: ContainerStats | undefined;
}

export interface RunResult<Output = string> {
  stdout: Output;
  stderr: Output;
  /** The command's exit code; 128+N when signal N killed it. */
  status: number;
  /** Whether the kernel has killed a process of the container for lack of memory. */
  oomKilled: boolean;
  stats: RunStats;
}

/** A run that was ended for what it did: it took too long (`DEADLINE_EXCEEDED`) or printed too much (`RESOURCE_EXHAUSTED`). */
export class RunError extends ContainerdError {
  override name = "RunError";
  readonly reason: "timeout" | "output";
  /** What it had printed. */
  readonly stdout: string | Buffer;
  readonly stderr: string | Buffer;
  readonly stats: RunStats;

  constructor(
    reason: "timeout" | "output",
    message: string,
    containerId: string | undefined,
    partial: Pick<RunResult<string | Buffer>, "stdout" | "stderr" | "stats">,
  ) {
    super(reason === "timeout" ? "DEADLINE_EXCEEDED" : "RESOURCE_EXHAUSTED", message, { containerId, kind: reason });
    this.reason = reason;
    this.stdout = partial.stdout;
    this.stderr = partial.stderr;
    this.stats = partial.stats;
  }
}

const DEFAULT_MAX_OUTPUT = 16 << 20;

/** Milliseconds between the first two samples, doubled each time, and at most. */
const FIRST_INTERVAL = 50;
const MAX_INTERVAL = 1000;

/** {@link V0.run}. */
export async function runContainer(
  containers: Containers,
  options: RunOptions | RunBufferOptions,
): Promise<RunResult<string> | RunResult<Buffer>> {
  checkOptions(options, runChecks);
  const {
    input,
    timeout = Number.POSITIVE_INFINITY,
    signal,
    maxOutput = DEFAULT_MAX_OUTPUT,
    encoding = "utf8",
    ...start
  } = options;
  signal?.throwIfAborted();

  const run = new Run(maxOutput);
  const abort = () => run.stop.abort(signal!.reason);
  signal?.addEventListener("abort", abort, { once: true });
  const stopTimer = startTimer(timeout, () => run.end("timeout"));
  try {
    const exit = await run.perform(containers, { ...start, owned: true, lifetime: timeout }, input);
    return { ...run.output(encoding), ...exit } as RunResult<string> | RunResult<Buffer>;
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    if (!run.ended) throw error;
    const message =
      run.ended === "timeout"
        ? `the container was killed after its ${timeout} ms`
        : `the container was killed after ${maxOutput} bytes of output`;
    throw new RunError(run.ended, message, run.container?.id, run.output(encoding));
  } finally {
    stopTimer();
    signal?.removeEventListener("abort", abort);
  }
}

class Run {
  /** Ends it early. */
  readonly stop = new AbortController();
  /** Why it was ended, unless by the caller. */
  ended: "timeout" | "output" | undefined;
  container: StartedContainer | undefined;
  readonly #stdout: OutputCollector;
  readonly #stderr: OutputCollector;
  #last: ContainerStats | undefined;
  #memoryPeak: number | undefined;
  #startedAt = performance.now();
  #duration = 0;

  constructor(maxOutput: number) {
    this.#stdout = new OutputCollector(maxOutput, () => this.end("output"));
    this.#stderr = new OutputCollector(maxOutput, () => this.end("output"));
  }

  end(reason: "timeout" | "output"): void {
    if (this.stop.signal.aborted) return;
    this.ended = reason;
    this.stop.abort();
  }

  output(encoding: "utf8" | "buffer") {
    const text = (collector: OutputCollector) => (encoding === "utf8" ? String(collector.bytes) : collector.bytes);
    const stats: RunStats = {
      duration: this.#duration,
      cpuTime: this.#last?.cpu.time,
      memoryPeak: this.#memoryPeak ?? (this.#last && Math.max(this.#last.memory.peak, this.#last.memory.usage)),
      last: this.#last,
    };
    return { stdout: text(this.#stdout), stderr: text(this.#stderr), stats };
  }

  /** Whatever it ends with, nothing is left then. */
  async perform(
    containers: Containers,
    start: Omit<StartBuiltOptions, "bundle">,
    input: RunOptions["input"],
  ): Promise<{ status: number; oomKilled: boolean }> {
    const { signal } = this.stop;
    const stdio = input === undefined ? "output" : "pipe";
    const container = await containers.startChecked({ ...start, stdio, signal });
    this.container = container;
    this.#startedAt = performance.now();
    const { init } = container;
    this.#stdout.collect(init.stdout);
    this.#stderr.collect(init.stderr);
    if (input !== undefined) this.#feed(input, init.stdin);
    const sampling = new AbortController();
    void this.#sample(container, sampling.signal);
    let exit: ExitStatus;
    try {
      exit = await container.wait({ signal });
      this.#memoryPeak = exit.memoryPeak;
    } catch (error) {
      // That it cannot be removed as well, from a daemon that is away, is not what went wrong first.
      await container.remove().catch(() => {});
      throw error;
    } finally {
      this.#duration = performance.now() - this.#startedAt;
      sampling.abort();
    }
    await container.remove();
    signal.throwIfAborted();
    return { status: exit.status, oomKilled: exit.oomKilled };
  }

  #feed(input: NonNullable<RunOptions["input"]>, stdin: Writable): void {
    // A command that does not read all of its input is no failure.
    stdin.on("error", () => {});
    feed(input, stdin, (error) => this.stop.abort(error));
  }

  async #sample(container: StartedContainer, signal: AbortSignal): Promise<void> {
    try {
      for (let interval = FIRST_INTERVAL; ; interval = Math.min(interval * 2, MAX_INTERVAL)) {
        this.#last = await container.stats({ signal });
        await pause(interval, signal);
      }
    } catch {
      // It has ended, or the daemon is away: what has been sampled counts.
    }
  }
}
