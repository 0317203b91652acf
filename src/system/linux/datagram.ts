import { closeSync } from "node:fs";
import koffi from "koffi";
import { libc, systemError } from "./libc.js";

const socket = libc.func("int socket(int domain, int type, int protocol)");
const sendto = libc.func(
  "long sendto(int fd, uint8_t *data, size_t length, int flags, uint8_t *address, uint32_t size)",
);
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0x80000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** Bytes of sun_path in sockaddr_un. */
const PATH_SIZE = 108;

/**
 * Sends one datagram to a unix socket; Node has none of these.
 * @param path of the socket; with "@" at its beginning the name of an abstract one (unix(7))
 * @throws a system error; EAGAIN when the receiver's queue is full, ENAMETOOLONG
 */
export function sendUnixDatagram(path: string, message: string): void {
  const name = Buffer.from(path.replace(/^@/, "\0"));
  if (name.length > PATH_SIZE) throw systemError("sendto", path, koffi.os.errno.ENAMETOOLONG);
  const address = Buffer.alloc(2 + name.length + (name[0] === 0 || name.length === PATH_SIZE ? 0 : 1));
  new Uint16Array(address.buffer, address.byteOffset, 1)[0] = AF_UNIX;
  name.copy(address, 2);
  const fd: number = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw systemError("socket");
  try {
    const data = Buffer.from(message);
    if (sendto(fd, data, data.length, MSG_DONTWAIT | MSG_NOSIGNAL, address, address.length) < 0)
      throw systemError("sendto", path);
  } finally {
    closeSync(fd);
  }
}
