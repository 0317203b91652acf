import type { Readable, Writable } from "node:stream";
import { type SignalName, signalNumber } from "../../../contract/signals.js";
import { abortable, withTimeout } from "../../abortable.js";
import { type CallOptions, callChecks } from "../../api/call-options.js";
import type { Api } from "../../api/v0.js";
import { ContainerdError } from "../../errors/containerd-error.js";
import { duration } from "../../options/duration.js";
import { checkOptions, whole } from "../../options/option-checks.js";
import type { Stdio } from "../../streams/stdio.js";
import type { Timestamp } from "../../timestamp.js";
import type { ExitStatus, ExitWatch } from "../events/exit-watch.js";

/** What the kernel keeps of a terminal's size. */
const size = whole("a number of characters, 0 – 65535", 0, 0xffff);

/** What a process handle works with. */
export interface ProcessParts {
  api: Api;
  exits: ExitWatch;
  containerId: string;
  name: string;
  systemPid: number;
  /** With pipes: the FIFOs, and the exit that has been waited for since before the start. */
  attached?: { stdio: Stdio; exited: Promise<ExitStatus> };
  /** By the daemon's clock: its exit is later. */
  since?: Timestamp | undefined;
}

/** A process in a container: `init`, or one that was executed in it. */
export class ContainerProcess implements Disposable {
  readonly containerId: string;
  /** The caller's name for it; "init" for the container's first process. */
  readonly name: string;
  /** On the daemon's host. */
  readonly systemPid: number;
  readonly #parts: ProcessParts;
  #exited: Promise<ExitStatus> | undefined;

  /** @internal */
  constructor(parts: ProcessParts) {
    this.#parts = parts;
    this.containerId = parts.containerId;
    this.name = parts.name;
    this.systemPid = parts.systemPid;
    if (!parts.attached) return;
    const { stdio, exited } = parts.attached;
    this.#exited = exited;
    exited
      .then(
        () => stdio.finish(),
        // With the daemon away for too long, the process may well be running: its streams are left as they are.
        (error) => error instanceof ContainerdError && error.isNotFound && stdio.finish(),
      )
      // A folder that cannot be removed must not end the program.
      .catch(() => {});
  }

  /** Only of a process started with `stdio: "pipe"`; `end()` closes its stdin. @throws Error otherwise. */
  get stdin(): Writable {
    const { stdin, paths } = this.#stdio;
    if (paths.stdin !== "") return stdin;
    throw new Error(`process "${this.name}" of container "${this.containerId}" was started without an input`);
  }

  /** Read it, or the process stops once 64 KiB are waiting. With a terminal this is all of its output. */
  get stdout(): Readable {
    return this.#stdio.stdout;
  }

  get stderr(): Readable {
    return this.#stdio.stderr;
  }

  /**
   * Resolves when the process has ended. Its last output may still be waiting in `stdout` and `stderr`, which end after it.
   *
   * @throws ContainerdError NOT_FOUND when the daemon does not know how it ended, UNAVAILABLE when the daemon was away
   *   for longer than the client's `patience`, DEADLINE_EXCEEDED after `timeout` milliseconds (the process goes on); the signal's
   *   reason.
   */
  async wait(options: CallOptions = {}): Promise<ExitStatus> {
    checkOptions(options, callChecks);
    const { exits, containerId, name, systemPid, since } = this.#parts;
    const wait = (signal: AbortSignal | undefined) =>
      this.#exited
        ? abortable(this.#exited, signal)
        : exits.waitFor({ id: containerId, pid: name, systemPid, since }, signal);
    return withTimeout(wait, options, () => {
      const message = `process "${name}" of container "${containerId}" has not ended within ${options.timeout} ms`;
      return new ContainerdError("DEADLINE_EXCEEDED", message, { containerId });
    });
  }

  /** Sends a signal; default SIGTERM. @throws TypeError for an unknown one. */
  async kill(signal: SignalName = "SIGTERM", options?: CallOptions): Promise<void> {
    const { api, containerId: id, name: pid } = this.#parts;
    await api.signal({ id, pid, signal: signalNumber(signal) }, options);
  }

  /** Sets the size of its terminal, in characters. */
  async resize(columns: number, rows: number, options?: CallOptions): Promise<void> {
    size(columns, "columns");
    size(rows, "rows");
    const { api, containerId: id, name: pid } = this.#parts;
    await api.updateProcess({ id, pid, width: columns, height: rows }, options);
  }

  /** Lets go of its streams; the process goes on. What it prints from then on waits in the FIFOs, then it stops. */
  detach(): void {
    this.#parts.attached?.stdio.close();
  }

  /**
   * For a process that has ended: lets go of its streams once what is being read from them has come to its end.
   *
   * @param timeout milliseconds for that
   */
  async close(timeout = 5000): Promise<void> {
    duration(timeout, "timeout");
    await this.#parts.attached?.stdio.drained(timeout);
    this.detach();
  }

  [Symbol.dispose](): void {
    this.detach();
  }

  get #stdio(): Stdio {
    if (this.#parts.attached) return this.#parts.attached.stdio;
    throw new Error(`process "${this.name}" of container "${this.containerId}" was not started with pipes`);
  }
}
