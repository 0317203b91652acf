import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";

/** How many may be under way: anybody can get this far, and must not affect the rest of the daemon. */
const MAX_HANDSHAKES = 256;

/**
 * TCP connections whose TLS handshake is under way. When there are too many the oldest is ended: who has a certificate needs a moment only.
 */
export class Handshakes {
  /** By address and port of the other side; the oldest first. */
  readonly #sockets = new Map<string, Socket>();

  /** Takes a connection in. */
  begin(socket: Socket): void {
    const peer = peerOf(socket);
    this.#sockets.set(peer, socket);
    socket.once("close", () => {
      if (this.#sockets.get(peer) === socket) this.#sockets.delete(peer);
    });
    if (this.#sockets.size <= MAX_HANDSHAKES) return;
    const [oldest] = this.#sockets.values();
    oldest?.destroy();
  }

  /** Its handshake has succeeded. */
  done(socket: TLSSocket): void {
    this.#sockets.delete(peerOf(socket));
  }
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
