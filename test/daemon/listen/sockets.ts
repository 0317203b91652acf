/** Sockets as a service manager makes them: Node has no datagrams on unix sockets, and listens only to accept. */
import { closeSync } from "node:fs";
import koffi from "koffi";
import { libc, systemError } from "../../../src/system/linux/libc.js";
import { eventually } from "../../harness/wait.js";

const socket = libc.func("int socket(int domain, int type, int protocol)");
const bind = libc.func("int bind(int fd, uint8_t *address, uint32_t size)");
const listen = libc.func("int listen(int fd, int backlog)");
const recv = libc.func("long recv(int fd, _Out_ uint8_t *data, size_t size, int flags)");
const AF_UNIX = 1;
const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0x80000;
const MSG_DONTWAIT = 0x40;

function bound(domain: number, type: number, address: Buffer): number {
  const fd: number = socket(domain, type | SOCK_CLOEXEC, 0);
  if (fd < 0) throw systemError("socket");
  if (bind(fd, address, address.length) === 0) return fd;
  const error = systemError("bind");
  closeSync(fd);
  throw error;
}

/** A path, or with "@" the name of an abstract socket. */
function unixAddress(path: string): Buffer {
  const end = path.startsWith("@") ? "" : "\0";
  return Buffer.concat([Buffer.from([AF_UNIX, 0]), Buffer.from(path.replace(/^@/, "\0") + end)]);
}

function listening(domain: number, address: Buffer): number {
  const fd = bound(domain, SOCK_STREAM, address);
  if (listen(fd, 100) !== 0) throw systemError("listen");
  return fd;
}

/** The descriptor of a listening unix socket. */
export const listeningUnix = (path: string): number => listening(AF_UNIX, unixAddress(path));

/** The descriptor of a TCP socket that listens on 127.0.0.1. */
export function listeningTcp(port: number): number {
  const address = Buffer.from([AF_INET, 0, port >> 8, port & 255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  return listening(AF_INET, address);
}

/** Receives datagrams: what NOTIFY_SOCKET names. */
export class DatagramReceiver implements Disposable {
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = bound(AF_UNIX, SOCK_DGRAM, unixAddress(path));
  }

  /** The next one; undefined when there is none yet. */
  receive(): string | undefined {
    const data = Buffer.alloc(4096);
    const size: number = recv(this.#fd, data, data.length, MSG_DONTWAIT);
    if (size >= 0) return data.toString("utf8", 0, size);
    if (koffi.errno() === koffi.os.errno.EAGAIN) return undefined;
    throw systemError("recv");
  }

  next(): Promise<string> {
    return eventually(() => this.receive(), { what: "a datagram" });
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}
