import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { Opening } from "./opening.js";
import { PatchedSocket } from "./patched-socket.js";

/** In ms: how long a client gets to begin to speak HTTP/2. */
const OPENING_TIMEOUT = 30_000;

export interface OpeningOptions {
  /** Old clients are let in with a path as `:authority`: only unix sockets have such clients. */
  patch: boolean;
  /** In ms: after it a client that has not begun to speak HTTP/2 is disconnected. */
  timeout?: number;
}

/** An empty SETTINGS frame (RFC 9113, 6.5). */
const emptySettings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);

/**
 * Decides by a new connection's first request how it is served: with a legal `:authority` the socket itself is handed on, which Node's
 * HTTP/2 then reads natively; else (and whenever that can't be told) it goes through a {@link PatchedSocket}, at about half the speed.
 *
 * Newer clients send no request before they have seen the server's SETTINGS, so an empty one is sent when it takes that to go on.
 * nghttp2 sends its own later, which is allowed at any time (RFC 9113, 6.5), and the acknowledgement of ours is kept from it: it would take
 * that for an error.
 * @param serve is called once, unless the client leaves first
 */
export function openConnection(
  socket: Socket,
  serve: (connection: Duplex) => void,
  { patch, timeout = OPENING_TIMEOUT }: OpeningOptions,
): void {
  const opening = new Opening();
  const timer = setTimeout(() => socket.destroy(), timeout);
  socket.once("close", () => clearTimeout(timer));
  const onData = (chunk: Buffer) => {
    const verdict = opening.write(chunk);
    if (verdict === "wait") return;
    clearTimeout(timer);
    if (verdict === "refuse") {
      socket.destroy();
      return;
    }
    if (verdict === "settings" && patch) {
      opening.settingsSent();
      socket.write(emptySettings);
      return;
    }
    socket.pause();
    socket.removeListener("data", onData);
    socket.removeListener("end", onEnd);
    socket.removeListener("error", onError);
    if (verdict === "patch" && patch) {
      serve(new PatchedSocket(socket, opening.data, opening.ackDue));
    } else {
      // Node's HTTP/2 begins with what a socket has buffered.
      socket.unshift(opening.dataWithoutAck());
      serve(socket);
    }
  };
  const onEnd = () => socket.destroy();
  const onError = () => socket.destroy();
  socket.on("data", onData);
  socket.once("end", onEnd);
  socket.on("error", onError);
}
