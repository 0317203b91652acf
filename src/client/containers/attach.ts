import { Readable, Writable } from "node:stream";
import { linesIn } from "../../contract/log-lines.js";
import type { LogsResponse, WriteStdinRequest } from "../../proto/containerdts/engine/v1/engine.js";
import { limitedBy } from "../abortable.js";
import { type CallOptions, callChecks } from "../api/call-options.js";
import { timeoutError } from "../api/connection.js";
import type { EngineApi } from "../api/engine.js";
import type { Exchange } from "../api/exchange.js";
import { ContainerdError } from "../errors/containerd-error.js";
import { type Checks, checkOptions, flag } from "../options/option-checks.js";
import { withResolvers } from "../with-resolvers.js";
import { resizeTerminal } from "./container-process.js";
import { logChunks } from "./logs.js";
import { closeStdinOf } from "./run.js";

export interface AttachOptions {
  /** Whether what was printed before comes first, as far as the log has it. Default: false. */
  logs?: boolean | undefined;
  /** Whether its stdin can be written to: of a container that was made with `openStdin`. Default: false. */
  stdin?: boolean | undefined;
  /** Ends it; the streams fail with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Milliseconds in which it has to be attached. Default, and with Infinity: as long as it takes. */
  timeout?: number | undefined;
}

const attachChecks: Checks<AttachOptions> = { ...callChecks, logs: flag, stdin: flag };

/** In bytes: of one message. */
const LARGEST = 64 * 1024;
const NEWLINE = Buffer.from("\n");

/**
 * What a container prints, byte for byte, while it runs: of a terminal all of it is `stdout`. Many may be attached to one container; who
 * reads slowly holds up nobody else, nor the container.
 */
export class Attachment implements AsyncDisposable {
  /** Ends when the container has stopped, or by `detach`. Both outputs have to be read, or one waits for the other. */
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** `end()` closes the container's stdin, for all who write to it; without `stdin: true` it takes nothing. */
  readonly stdin: Writable;
  readonly #api: EngineApi;
  readonly #id: string;
  readonly #chunks: AsyncGenerator<LogsResponse, void, undefined>;
  readonly #leave: AbortController;
  #taken: (() => void) | undefined;
  #missed = 0;

  /** @internal */
  private constructor(
    api: EngineApi,
    id: string,
    chunks: AsyncGenerator<LogsResponse, void, undefined>,
    leave: AbortController,
    stdin: Writable,
  ) {
    this.#api = api;
    this.#id = id;
    this.#chunks = chunks;
    this.#leave = leave;
    const output = () => {
      const stream = new Readable({ read: () => this.#taken?.(), highWaterMark: LARGEST });
      // Whoever reads it hears of it; whoever does not is not concerned.
      return stream.on("error", () => {});
    };
    this.stdout = output();
    this.stderr = output();
    this.stdin = stdin;
    void this.#pump();
  }

  /** @internal */
  static async to(api: EngineApi, id: string, options: AttachOptions): Promise<Attachment> {
    checkOptions(options, attachChecks);
    const { logs = false, stdin = false, signal, timeout } = options;
    const leave = new AbortController();
    const limited = limitedBy({ timeout }, () => timeoutError(timeout));
    limited.signal.addEventListener("abort", () => leave.abort(limited.signal.reason));
    const either = signal === undefined ? leave.signal : AbortSignal.any([signal, leave.signal]);
    const chunks = logChunks(api, id, { follow: true, tail: logs ? undefined : 0, signal: either });
    try {
      // It is known then from where on nothing is missed.
      await chunks.next();
      return new Attachment(api, id, chunks, leave, stdin ? await StdinWriter.of(api, id, either) : noStdin());
    } catch (error) {
      leave.abort(error);
      throw error;
    } finally {
      limited.forget();
    }
  }

  /** How many bytes of output were rotated away before they could be read, since it was not read fast enough. */
  get missed(): number {
    return this.#missed;
  }

  /** Sets the size of the container's terminal, in characters. */
  async resize(columns: number, rows: number, options: CallOptions = {}): Promise<void> {
    await resizeTerminal(this.#api, { id: this.#id }, columns, rows, options);
  }

  /** Lets go of the container, which goes on: its stdin stays open, the outputs end with what was read by now. */
  detach(): void {
    this.#leave.abort(new DOMException("detached", "AbortError"));
    if (this.stdin instanceof StdinWriter) this.stdin.leave();
    else this.stdin.destroy();
    this.#taken?.();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.detach();
  }

  async #pump(): Promise<void> {
    const outputs = [this.stdout, this.stderr];
    try {
      for await (const chunk of this.#chunks) {
        this.#missed += Number(chunk.missed);
        await this.#push(chunk.data as Buffer);
        if (this.#leave.signal.aborted) break;
      }
    } catch (error) {
      if (!this.#leave.signal.aborted) {
        for (const output of outputs) output.destroy(error as Error);
        return;
      }
    }
    for (const output of outputs) output.push(null);
  }

  async #push(data: Buffer): Promise<void> {
    const pieces: Record<string, Buffer[]> = { stdout: [], stderr: [] };
    for (const { stream, textStart, end, isWhole, isGap } of linesIn(data)) {
      if (isGap) continue;
      const texts = pieces[stream];
      texts?.push(data.subarray(textStart, end - 1));
      if (isWhole) texts?.push(NEWLINE);
    }
    for (const output of [this.stdout, this.stderr]) {
      const bytes = Buffer.concat(pieces[output === this.stdout ? "stdout" : "stderr"]!);
      if (bytes.length === 0 || output.destroyed || output.push(bytes)) continue;
      const { promise, resolve } = withResolvers<void>();
      this.#taken = resolve;
      output.once("close", resolve);
      await promise;
      output.off("close", resolve);
      this.#taken = undefined;
    }
  }
}

/** What is written to it is an error: it has ended. */
function noStdin(): Writable {
  return new Writable().end();
}

/** Writes into the stdin of a container by the daemon. */
class StdinWriter extends Writable {
  readonly #api: EngineApi;
  readonly #id: string;
  readonly #exchange: Exchange<WriteStdinRequest, object>;
  /** Resolves when the daemon has written all; rejects with why it could not. */
  readonly #answered: Promise<void>;
  #isEnding = false;

  private constructor(api: EngineApi, id: string, exchange: Exchange<WriteStdinRequest, object>) {
    super({ highWaterMark: LARGEST });
    this.#api = api;
    this.#id = id;
    this.#exchange = exchange;
    this.#answered = this.#answer();
    // Of a container that has ended nobody has to hear but who is just writing.
    this.#answered.then(
      () => this.#over(new ContainerdError("FAILED_PRECONDITION", `the stdin of container "${id}" is closed`)),
      (error) => this.#over(error),
    );
  }

  static async of(api: EngineApi, id: string, signal: AbortSignal): Promise<StdinWriter> {
    const { config } = await api.calls.get({ id }, { signal });
    if (config?.openStdin !== true)
      throw new ContainerdError(
        "FAILED_PRECONDITION",
        `container "${id}" has no stdin: it was made without openStdin`,
        {
          containerId: id,
        },
      );
    const exchange = await api.calls.writeStdin();
    await exchange.send({ id, data: Buffer.alloc(0) });
    return new StdinWriter(api, id, exchange);
  }

  /** Leaves the container's stdin open; what was written still arrives. */
  leave(): void {
    this.#exchange.end();
    this.destroy();
  }

  #over(error: Error): void {
    if (this.#isEnding || this.destroyed) return;
    if (this.writableLength > 0) this.destroy(error);
    else this.destroy();
  }

  override async _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error) => void): Promise<void> {
    for (let at = 0; at < chunk.length; at += LARGEST)
      await this.#exchange.send({ id: "", data: chunk.subarray(at, at + LARGEST) });
    done();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#isEnding = true;
    this.#exchange.end();
    this.#answered.then(() => closeStdinOf(this.#api, this.#id, "")).then(() => done(), done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (error !== null) this.#exchange.cancel();
    done(error);
  }

  async #answer(): Promise<void> {
    for await (const _ of this.#exchange);
  }
}
