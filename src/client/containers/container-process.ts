import type { Readable, Writable } from "node:stream";
import type { SignalName } from "../../contract/signals.js";
import { abortable } from "../abortable.js";
import { type CallOptions, callChecks } from "../api/call-options.js";
import type { EngineApi } from "../api/engine.js";
import { checkOptions, whole } from "../options/option-checks.js";
import type { Stdio } from "../streams/stdio.js";
import { signalText } from "./container-config.js";
import { type ContainerExit, exitOf } from "./exit.js";

/** What the kernel keeps of a terminal's size. */
const terminalSize = whole("a number of characters, 0 – 65535", 0, 0xffff);

/** Sets the size of a terminal, in characters. @param process of the execs, or the container's own. @throws TypeError, ContainerdError */
export async function resizeTerminal(
  { calls }: EngineApi,
  process: { id: string; execId?: string },
  columns: number,
  rows: number,
  options: CallOptions,
): Promise<void> {
  terminalSize(columns, "columns");
  terminalSize(rows, "rows");
  checkOptions(options, callChecks);
  await calls.resizeTerminal({ ...process, width: columns, height: rows }, options);
}

/** A process in a container that this program has started, with its streams: the container's own, or an exec. */
export class ContainerProcess implements AsyncDisposable {
  readonly containerId: string;
  /** "" is the container's own. */
  readonly execId: string;
  /** On the daemon's machine; 0 when it is not known. */
  readonly pid: number;
  /** `end()` closes its stdin once all that was written has been handed over. */
  readonly stdin: Writable;
  /** Read it, or the process stops once 64 KiB are waiting. With a terminal this is all of its output. */
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly #api: EngineApi;
  readonly #stdio: Stdio;
  readonly #exit: Promise<ContainerExit>;

  /** @internal */
  constructor(
    api: EngineApi,
    { containerId, execId, pid }: { containerId: string; execId: string; pid: number },
    stdio: Stdio,
  ) {
    this.#api = api;
    this.#stdio = stdio;
    this.containerId = containerId;
    this.execId = execId;
    this.pid = pid;
    this.stdin = stdio.stdin;
    this.stdout = stdio.stdout;
    this.stderr = stdio.stderr;
    this.#exit = this.#follow();
    // Who waits hears of it.
    this.#exit.catch(() => {});
  }

  /**
   * Resolves when it has ended. Its last output may still be waiting in `stdout` and `stderr`, which end after it.
   *
   * @throws ContainerdError not-found when the container was removed, unreachable when the daemon was away for longer than the client's
   *   `patience`, DEADLINE_EXCEEDED after `timeout` milliseconds (the process goes on); the signal's reason
   */
  async wait(options: CallOptions = {}): Promise<ContainerExit> {
    checkOptions(options, callChecks);
    return await this.#api.again((signal) => abortable(this.#exit, signal), options, 0);
  }

  /** Sends a signal; default SIGTERM. @throws TypeError for an unknown one, ContainerdError when it has ended */
  async kill(signal: SignalName = "SIGTERM", options: CallOptions = {}): Promise<void> {
    checkOptions(options, callChecks);
    const { containerId: id, execId } = this;
    await this.#api.calls.kill({ id, execId, signal: signalText(signal) }, options);
  }

  /** Sets the size of its terminal, in characters. */
  async resize(columns: number, rows: number, options: CallOptions = {}): Promise<void> {
    const { containerId: id, execId } = this;
    await resizeTerminal(this.#api, { id, execId }, columns, rows, options);
  }

  /** Lets go of its streams; the process goes on. What it prints from then on waits in the FIFOs, then it stops. */
  detach(): void {
    this.#stdio.close();
  }

  /** Kills it if it runs, and lets go of its streams. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill("SIGKILL").catch(() => {});
    await this.#exit.catch(() => {});
    this.#stdio.close();
  }

  async #follow(): Promise<ContainerExit> {
    const { containerId: id, execId } = this;
    const { calls } = this.#api;
    const exit = await this.#api.again((signal) => calls.wait({ id, execId }, { signal }));
    this.#stdio.finish();
    if (execId !== "") this.#api.again((signal) => calls.deleteExec({ id, execId }, { signal })).catch(() => {});
    return exitOf(exit);
  }
}
