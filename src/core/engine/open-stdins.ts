import { once } from "node:events";
import { constants, openSync } from "node:fs";
import { Socket } from "node:net";
import { finished } from "node:stream/promises";
import { hasCode } from "../../system/linux/libc.js";
import { abortable } from "../failure/abortable.js";
import { Failure } from "../failure/failure.js";
import type { Task } from "../tasks/task.js";
import type { EngineContainer } from "./engine-container.js";

/** Who writes into the stdins of containers that were started without one: the FIFO is the shim's, which holds it open. */
export class OpenStdins {
  readonly #writers = new Map<EngineContainer, Set<Socket>>();

  /**
   * Writes, as fast as the container reads. Others may write, too: what is given as one piece comes together up to 4 KiB.
   * @throws Failure (failed-precondition) for a container without such a stdin, or when it was closed; the signal's reason
   */
  async write(
    container: EngineContainer,
    task: Task,
    data: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const socket = openStdin(container, task);
    // Who waits for it hears of it.
    socket.on("error", () => {});
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    this.#add(container, socket);
    const over = new AbortController();
    const stopWaiting = task.init!.whenOver(() => over.abort(closedStdin(container)));
    const either = AbortSignal.any([signal, over.signal]);
    const pieces = data[Symbol.asyncIterator]();
    try {
      for (;;) {
        const { value: piece, done } = await abortable(pieces.next(), either);
        if (done) break;
        if (socket.destroyed || socket.writableEnded) throw closedStdin(container);
        if (socket.write(piece)) continue;
        // By the end of the stdin it is drained without a word.
        await Promise.race([once(socket, "drain", { signal: either }), closed]);
      }
      socket.end();
      await finished(socket, { signal: either, readable: false });
    } catch (error) {
      either.throwIfAborted();
      throw hasCode(error, "EPIPE") ? closedStdin(container) : error;
    } finally {
      stopWaiting();
      socket.destroy();
      this.#remove(container, socket);
    }
  }

  /** Nobody writes any more: what they have written so far still arrives. */
  end(container: EngineContainer): void {
    for (const socket of this.#writers.get(container) ?? []) socket.end();
  }

  #add(container: EngineContainer, socket: Socket): void {
    const writers = this.#writers.get(container);
    if (writers === undefined) this.#writers.set(container, new Set([socket]));
    else writers.add(socket);
  }

  #remove(container: EngineContainer, socket: Socket): void {
    const writers = this.#writers.get(container);
    writers?.delete(socket);
    if (writers?.size === 0) this.#writers.delete(container);
  }
}

function openStdin(container: EngineContainer, task: Task): Socket {
  const { stdin, leadsTo } = task.init!.stdio;
  const path = leadsTo?.stdin ?? "";
  if (stdin !== "" || path === "") {
    const why = stdin === "" ? "has no stdin: it was made without openStdin" : "has the stdin that it was started with";
    throw new Failure("failed-precondition", "refused", { why: `container ${JSON.stringify(container.id)} ${why}` });
  }
  try {
    const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY | constants.O_NOFOLLOW);
    return new Socket({ fd, readable: false, writable: true });
  } catch (error) {
    throw hasCode(error, "ENXIO") || hasCode(error, "ENOENT") ? closedStdin(container) : error;
  }
}

function closedStdin({ id }: EngineContainer): Failure {
  const why = `the stdin of container ${JSON.stringify(id)} is closed`;
  return new Failure("failed-precondition", "refused", { why });
}
