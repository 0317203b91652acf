import type { Readable, Writable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { signalCheck } from "../api/call-options.js";
import { ContainerdError } from "../errors/containerd-error.js";
import { RunError } from "../errors/run-error.js";
import { positiveDuration, startTimer } from "../options/duration.js";
import { type Checks, callback, number, oneOf } from "../options/option-checks.js";
import { OutputCollector } from "../streams/output-collector.js";
import { feed, inputCheck, type RunInput } from "../streams/process-input.js";
import type { Stdio } from "../streams/stdio.js";

/** What a process that is run to its end takes, beside what it is. */
export interface CollectOptions<Output = string> {
  /** What it reads from its stdin. Default: nothing. A stream is read only as fast as it reads. */
  input?: RunInput | undefined;
  /** Milliseconds from the call; then it is killed and {@link RunError} thrown. Default, and with Infinity: no limit. */
  timeout?: number | undefined;
  /** Bytes of stdout, and of stderr, from which on it is killed and {@link RunError} thrown. Default: 16 MiB. */
  maxOutput?: number | undefined;
  /** Told what it prints as it comes; the result has it all the same. What this throws ends the process, and is thrown. */
  onStdout?: ((chunk: Output) => void) | undefined;
  onStderr?: ((chunk: Output) => void) | undefined;
  /** Ends it; the call throws its reason once nothing is left. */
  signal?: AbortSignal | undefined;
}

/** "utf8": output is text; "buffer": bytes. */
export type Encoding = "utf8" | "buffer";

export const collectChecks: Checks<CollectOptions & { encoding?: Encoding | undefined }> = {
  input: inputCheck,
  timeout: positiveDuration,
  maxOutput: number("a number of bytes", (value) => value >= 0),
  onStdout: callback,
  onStderr: callback,
  signal: signalCheck,
  encoding: oneOf("utf8", "buffer"),
};

const DEFAULT_MAX_OUTPUT = 16 << 20;

export interface Collected {
  stdout: string | Buffer;
  stderr: string | Buffer;
  /** Milliseconds. */
  duration: number;
}

/** A process from its start to its end, with all that it prints and what ends it early. */
export class CollectedRun {
  readonly #options: CollectOptions<string | Buffer>;
  readonly #encoding: Encoding;
  readonly #stop = new AbortController();
  readonly #stdout: OutputCollector;
  readonly #stderr: OutputCollector;
  #ended: RunError["reason"] | undefined;
  #startedAt: number | undefined;
  #duration: number | undefined;

  constructor(options: CollectOptions<never>, encoding: Encoding = "utf8") {
    this.#options = options as CollectOptions<string | Buffer>;
    this.#encoding = encoding;
    const limit = options.maxOutput ?? DEFAULT_MAX_OUTPUT;
    this.#stdout = new OutputCollector(limit, () => this.end("output"));
    this.#stderr = new OutputCollector(limit, () => this.end("output"));
  }

  /**
   * Has it run.
   *
   * @param what is run, as an error calls it: "the container"
   * @param perform gets a signal that ends it; nothing may be left when it throws
   * @throws RunError, the caller's signal's reason, what `perform` throws
   */
  async complete<Exit>(
    what: string,
    containerId: string,
    perform: (signal: AbortSignal) => Promise<Exit>,
  ): Promise<Exit & Collected> {
    const { signal, timeout = Number.POSITIVE_INFINITY, maxOutput = DEFAULT_MAX_OUTPUT } = this.#options;
    signal?.throwIfAborted();
    const abort = () => this.#stop.abort(signal!.reason);
    signal?.addEventListener("abort", abort, { once: true });
    const stopTimer = startTimer(timeout, () => this.end("timeout"));
    try {
      const exit = await perform(this.#stop.signal);
      // What it had printed last can be too much, too.
      this.#stop.signal.throwIfAborted();
      return { ...exit, ...this.#output() };
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (this.#ended === undefined) throw this.#stop.signal.aborted ? this.#stop.signal.reason : error;
      const reasons = {
        timeout: `its ${timeout} ms`,
        output: `${maxOutput} bytes of output`,
        expired: "its container's time to live",
      };
      const why = reasons[this.#ended];
      throw new RunError(this.#ended, `${what} was killed after ${why}`, containerId, this.#output());
    } finally {
      stopTimer();
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Ends it early. */
  end(reason: RunError["reason"]): void {
    if (this.#stop.signal.aborted) return;
    this.#ended = reason;
    this.#stop.abort(new Error(reason));
  }

  /** It runs: what it prints is read from here on, and what it shall read is written. */
  started(stdio: Stdio): void {
    const { input, onStdout, onStderr } = this.#options;
    this.#startedAt = performance.now();
    this.#stdout.collect(stdio.stdout);
    this.#stderr.collect(stdio.stderr);
    this.#tell(stdio.stdout, onStdout);
    this.#tell(stdio.stderr, onStderr);
    if (input !== undefined) this.#feed(input, stdio.stdin);
  }

  exited(): void {
    this.#duration = performance.now() - (this.#startedAt ?? performance.now());
  }

  #output(): Collected {
    const text = (collector: OutputCollector) =>
      this.#encoding === "utf8" ? String(collector.bytes) : collector.bytes;
    const since = this.#startedAt === undefined ? 0 : performance.now() - this.#startedAt;
    return { stdout: text(this.#stdout), stderr: text(this.#stderr), duration: this.#duration ?? since };
  }

  #tell(stream: Readable, listener: ((chunk: string | Buffer) => void) | undefined): void {
    if (listener === undefined) return;
    // A character may come in two pieces.
    const decoder = this.#encoding === "utf8" ? new StringDecoder("utf8") : undefined;
    const tell = (chunk: string | Buffer) => {
      if (chunk.length === 0) return;
      try {
        listener(chunk);
      } catch (error) {
        this.#stop.abort(error);
      }
    };
    stream.on("data", (chunk: Buffer) => tell(decoder ? decoder.write(chunk) : chunk));
    if (decoder) stream.on("end", () => tell(decoder.end()));
  }

  #feed(input: RunInput, stdin: Writable): void {
    // A process that does not read all of its input is no failure; one that is never told of its end would wait for ever.
    stdin.on("error", (error) => {
      if (error instanceof ContainerdError) this.#stop.abort(error);
    });
    feed(input, stdin, (error) => this.#stop.abort(error));
  }
}
