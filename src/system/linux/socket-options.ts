import { libc, systemError } from "./libc.js";

const getsockopt = libc.func("int getsockopt(int fd, int level, int name, uint8_t *value, _Inout_ uint32_t *length)");
const getsockname = libc.func("int getsockname(int fd, uint8_t *address, _Inout_ uint32_t *length)");
/** sockaddr_un: its family, then its path. */
const ADDRESS_SIZE = 110;
const PATH_OFFSET = 2;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_ACCEPTCONN = 30;
const SO_DOMAIN = 39;
const AF_UNIX = 1;

/** Reads `count` ints. Throws a system error: ENOTSOCK, EBADF. */
function option(fd: number, name: number, count: number): Int32Array {
  const value = new Int32Array(count);
  if (getsockopt(fd, SOL_SOCKET, name, new Uint8Array(value.buffer), [value.byteLength]) !== 0)
    throw systemError("getsockopt");
  return value;
}

/** Who connected a unix socket, at that time (unix(7), SO_PEERCRED). Throws a system error. */
export function peerCredentials(fd: number): { pid: number; uid: number; gid: number } {
  const [pid = 0, uid = 0, gid = 0] = option(fd, SO_PEERCRED, 3);
  return { pid, uid, gid };
}

/** The path that a unix socket is bound to; "" for one without. Throws a system error. */
export function socketPath(fd: number): string {
  const address = Buffer.alloc(ADDRESS_SIZE);
  if (getsockname(fd, address, [address.length]) !== 0) throw systemError("getsockname");
  return address.toString("utf8", PATH_OFFSET).replace(/\0.*$/s, "");
}

/** Whether a descriptor is a socket that listens; of which family then. */
export function listeningFamily(fd: number): "unix" | "other" | undefined {
  try {
    if (option(fd, SO_ACCEPTCONN, 1)[0] !== 1) return undefined;
    return option(fd, SO_DOMAIN, 1)[0] === AF_UNIX ? "unix" : "other";
  } catch {
    return undefined;
  }
}
