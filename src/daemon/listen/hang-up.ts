import type { Socket } from "node:net";
import { epoll } from "../../system/linux/epoll.js";

/** In ms: the grace period in which the last requests of a client that has left can still be read. */
const GRACE = 5_000;

/**
 * Closes a connection some time after its client has left. Node's HTTP/2 does so at once, as long as it reads. On a connection with frames
 * that nghttp2 answers with GOAWAY (wrong ones, thousands of streams that are reset) it does not read any more, and would never see the
 * client leave.
 * @param fd the socket's
 * @throws a system error when the kernel can't tell
 */
export function closeAfterHangUp(socket: Socket, fd: number): void {
  let timer: NodeJS.Timeout | undefined;
  const forget = epoll.hangUp(fd, () => {
    timer = setTimeout(() => socket.destroy(), GRACE);
  });
  socket.once("close", () => {
    forget();
    clearTimeout(timer);
  });
}
