/** The terminal of a process: the runtime hands us the master of a pty over a unix socket. */
import { CONSOLE_SOCKET } from "../contract/shim/process-directory";
import { close, runUntil, watch } from "./loop";
import * as files from "./syscalls/files";
import { EAGAIN, errorText } from "./syscalls/libc";
import * as processes from "./syscalls/processes";
import * as sockets from "./syscalls/sockets";
import * as waiting from "./syscalls/waiting";

/** The socket at which the runtime delivers the terminal. */
export interface ConsoleSocket {
  /** The path for the runtime. */
  readonly path: string;
  listener: number;
  connection: number;
  /** The pty's master, -1 until it has come. */
  master: number;
}

// What fits into a sockaddr_un, with its NUL.
const LONGEST_PATH = 107;
const DELIVERY_TIMEOUT = 5000;

/** Makes the console socket in the working directory. Throws a message. */
export function openConsoleSocket(): ConsoleSocket {
  files.unlink(CONSOLE_SOCKET);
  const listener = sockets.listenUnix(CONSOLE_SOCKET);
  if (listener < 0) return error(`console socket: ${errorText(listener)}`, 0);
  let path = `${files.getcwd()}/${CONSOLE_SOCKET}`;
  // The runtime needs an absolute path; this one is always short enough, and leads through our working directory.
  if (path.length > LONGEST_PATH) path = `/proc/${processes.getpid()}/cwd/${CONSOLE_SOCKET}`;
  const socket: ConsoleSocket = { path, listener, connection: -1, master: -1 };
  watch(listener, waiting.EPOLLIN, () => {
    const connection = sockets.accept(listener);
    if (connection < 0) return;
    close(socket.connection);
    socket.connection = connection;
    watch(connection, waiting.EPOLLIN, () => {
      const master = sockets.receiveDescriptor(connection);
      if (master === -EAGAIN) return;
      close(connection);
      socket.connection = -1;
      if (master >= 0) socket.master = master;
    });
  });
  return socket;
}

/** The master, once the runtime has done its part. Throws when it did not deliver one. */
export function receiveConsole(socket: ConsoleSocket): number {
  const delivered = runUntil(() => socket.master >= 0, waiting.now() + DELIVERY_TIMEOUT);
  closeConsoleSocket(socket);
  if (!delivered) return error("console socket: the runtime sent no terminal", 0);
  files.setNonBlocking(socket.master);
  return socket.master;
}

/** Closes the socket and removes it. */
export function closeConsoleSocket(socket: ConsoleSocket): void {
  close(socket.connection);
  close(socket.listener);
  socket.connection = -1;
  socket.listener = -1;
  files.unlink(CONSOLE_SOCKET);
}
