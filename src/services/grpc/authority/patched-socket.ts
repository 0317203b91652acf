import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { AuthorityPatch } from "./authority-patch.js";

/** A connection whose incoming bytes go through an {@link AuthorityPatch}; the outgoing ones stay as they are. */
export class PatchedSocket extends Duplex {
  readonly #socket: Socket;
  readonly #patch: AuthorityPatch;

  /** @param first what has been read from the socket already @param dropAck see {@link AuthorityPatch} */
  constructor(socket: Socket, first: Buffer, dropAck: boolean) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    this.#patch = new AuthorityPatch(dropAck);
    this.#take(first);
    socket.on("data", (chunk) => {
      if (!this.#take(chunk)) socket.pause();
    });
    socket.once("end", () => {
      this.push(this.#patch.end());
      this.push(null);
    });
    socket.once("error", (error) => this.destroy(error));
    socket.once("close", () => this.destroy());
  }

  #take(chunk: Buffer): boolean {
    let wanted = true;
    for (const part of this.#patch.write(chunk)) wanted = this.push(part);
    return wanted;
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#socket.write(chunk, encoding, callback);
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    callback: (error?: Error | null) => void,
  ): void {
    this.#socket.cork();
    chunks.forEach(({ chunk, encoding }, index) => {
      this.#socket.write(chunk, encoding, index === chunks.length - 1 ? callback : undefined);
    });
    this.#socket.uncork();
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#socket.end(callback);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#socket.destroy();
    callback(error);
  }
}
