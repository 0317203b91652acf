import type { ListenOptions, Server } from "node:net";
import { errnoText } from "../../system/linux/libc.js";

/** Connections that may wait to be accepted. Linux cuts it down to net.core.somaxconn. */
const BACKLOG = 4096;

/**
 * Has the server listen; resolves when it does.
 * @param what for the error's message
 * @throws Error "listen <what>: <reason>"
 */
export function listening(server: Server, what: string, where: ListenOptions & { fd?: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = ({ errno, message }: NodeJS.ErrnoException) =>
      reject(new Error(`listen ${what}: ${errno === undefined ? message : errnoText(Math.abs(errno))}`));
    server.once("error", failed);
    server.listen({ ...where, backlog: BACKLOG }, () => {
      server.removeListener("error", failed);
      resolve();
    });
  });
}
