/** Sockets that nothing is read from for a moment. */
import { callIn, type Handler, rewatch } from "../shim/loop";
import { EPOLLIN } from "../shim/syscalls/waiting";
import type { Container } from "./containers";

/** In ms. */
const PAUSE = 100;

interface Paused {
  readonly container: Container;
  readonly socket: number;
  readonly handler: Handler;
}

let paused: Paused[] = [];

/** Watches the socket no more for {@link PAUSE}; what comes meanwhile waits, as far as the kernel keeps it. */
export function pause(container: Container, socket: number, handler: Handler): void {
  rewatch(socket, 0, handler);
  if (paused.length === 0) callIn(PAUSE, goOn);
  paused[paused.length] = { container, socket, handler };
}

function goOn(): void {
  const all = paused;
  paused = [];
  for (const { container, socket, handler } of all) if (container.isThere) rewatch(socket, EPOLLIN, handler);
}
