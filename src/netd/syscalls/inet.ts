/** Sockets of the Internet's protocols, and netlink's. An address is a Lua string: a sockaddr as the kernel takes it. */
import type { CData, CIntArray } from "ffi";
import * as ffi from "ffi";
import { close } from "../../shim/syscalls/files";
import { declare, intCell, outcome } from "../../shim/syscalls/libc";

export const EADDRINUSE = 98;
export const EINPROGRESS = 115;

const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
/** Close-on-exec and non-blocking. */
const SOCK_OWN = 0x80800;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SOL_SOCKET = 1;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const SO_ERROR = 4;
const SO_RCVBUF = 8;

interface Libc {
  netd_socket(this: void, domain: number, type: number, protocol: number): number;
  netd_bind(this: void, fd: number, address: string, length: number): number;
  netd_connect(this: void, fd: number, address: string, length: number): number;
  netd_getsockname(this: void, fd: number, address: CData, length: CData): number;
  netd_sendto(
    this: void,
    fd: number,
    data: string,
    length: number,
    flags: number,
    to: string | undefined,
    size: number,
  ): number;
  netd_recvfrom(
    this: void,
    fd: number,
    data: CData,
    length: number,
    flags: number,
    from: CData | undefined,
    size: CData | undefined,
  ): number;
  getsockopt(this: void, fd: number, level: number, name: number, value: CData, length: CData): number;
  setsockopt(this: void, fd: number, level: number, name: number, value: CData, length: number): number;
  netd_listen(this: void, fd: number, backlog: number): number;
  inet_pton(this: void, family: number, text: string, raw: CData): number;
  inet_ntop(this: void, family: number, raw: string, text: CData, size: number): CData;
  if_nametoindex(this: void, name: string): number;
  netd_poll(this: void, descriptors: CData, count: number, timeout: number): number;
}

// Those that the shim's modules declare with other types have another name here.
const libc = declare(`
struct netd_pollfd { int fd; short events, found; };
int netd_socket(int, int, int) __asm__("socket");
int netd_listen(int, int) __asm__("listen");
int netd_poll(struct netd_pollfd *, unsigned long, int) __asm__("poll");
int netd_bind(int, const char *, unsigned) __asm__("bind");
int netd_connect(int, const char *, unsigned) __asm__("connect");
int netd_getsockname(int, void *, int *) __asm__("getsockname");
int netd_sendto(int, const char *, size_t, int, const char *, unsigned) __asm__("sendto");
int netd_recvfrom(int, void *, size_t, int, void *, int *) __asm__("recvfrom");
int getsockopt(int, int, int, int *, int *);
int setsockopt(int, int, int, const int *, unsigned);
int inet_pton(int, const char *, void *);
const char *inet_ntop(int, const char *, char *, unsigned);
unsigned if_nametoindex(const char *);
`) as Libc;

const BUFFER_SIZE = 65_536;
const buffer = ffi.new("char[?]", BUFFER_SIZE);
const ADDRESS_SIZE = 28;
const addressBuffer = ffi.new("char[28]");
const lengthCell = ffi.new("int[1]") as CIntArray;

/** The bytes of an IPv4 or IPv6 address; undefined when it is neither. */
export function addressBytes(text: string): string | undefined {
  const isSix = string.find(text, ":", 1, true)[0] !== undefined;
  if (libc.inet_pton(isSix ? AF_INET6 : AF_INET, text, addressBuffer) !== 1) return undefined;
  return ffi.string(addressBuffer, isSix ? 16 : 4);
}

/** The sockaddr of an address (`fe80::1%eth0` too) and a port; undefined when it is none. */
export function socketAddress(text: string, port: number): string | undefined {
  const [host, zone] = string.match(text, "^([^%%]*)%%?(.*)$");
  const bytes = addressBytes(host);
  if (bytes === undefined) return undefined;
  const portBytes = string.char(port >> 8, port & 0xff);
  if (bytes.length === 4) return `${nativeWord(AF_INET)}${portBytes}${bytes}${string.rep("\0", 8)}`;
  const scope = zone === "" ? 0 : libc.if_nametoindex(zone);
  return `${nativeWord(AF_INET6)}${portBytes}${string.rep("\0", 4)}${bytes}${nativeWord(scope & 0xffff)}${nativeWord(scope >>> 16)}`;
}

/** 16 bits in the processor's order: all that LuaJIT and we run on are little-endian. */
function nativeWord(value: number): string {
  return string.char(value & 0xff, value >> 8);
}

function familyOf(address: string): number {
  return string.byte(address);
}

/** A socket, non-blocking and close-on-exec, of the family of that address; or a negative errno. */
export function openSocket(protocol: "tcp" | "udp", address: string): number {
  return outcome(libc.netd_socket(familyOf(address), (protocol === "tcp" ? SOCK_STREAM : SOCK_DGRAM) + SOCK_OWN, 0));
}

/** A socket that is bound to that address, its port 0 chosen by the kernel; or a negative errno. */
export function openBound(protocol: "tcp" | "udp", address: string): number {
  const fd = openSocket(protocol, address);
  if (fd < 0) return fd;
  if (familyOf(address) === AF_INET6) setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  const result = outcome(libc.netd_bind(fd, address, address.length));
  if (result >= 0) return fd;
  close(fd);
  return result;
}

function setOption(fd: number, level: number, name: number, value: number): void {
  lengthCell[0] = value;
  libc.setsockopt(fd, level, name, lengthCell, 4);
}

/** Has the kernel keep next to nothing of what comes for a socket that nobody reads. */
export function keepNothing(fd: number): void {
  setOption(fd, SOL_SOCKET, SO_RCVBUF, 0);
}

export function connect(fd: number, address: string): number {
  return outcome(libc.netd_connect(fd, address, address.length));
}

export function listen(fd: number, backlog: number): number {
  return outcome(libc.netd_listen(fd, backlog));
}

/** What has become of a connection that was under way: 0, or a negative errno. */
export function connectionError(fd: number): number {
  lengthCell[0] = 4;
  const result = outcome(libc.getsockopt(fd, SOL_SOCKET, SO_ERROR, intCell, lengthCell));
  return result < 0 ? result : -intCell[0];
}

/** The user and the process at the other end of a unix socket; -1 when the kernel does not say. */
export function peerUser(fd: number): number {
  const SO_PEERCRED = 17;
  lengthCell[0] = 12;
  return libc.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, intCell, lengthCell) < 0 ? -1 : intCell[1];
}

/** The number of the port that a socket is bound to. */
export function localPort(fd: number): number {
  lengthCell[0] = ADDRESS_SIZE;
  libc.netd_getsockname(fd, addressBuffer, lengthCell);
  const [, , high, low] = string.byte(ffi.string(addressBuffer, 4), 1, 4);
  return high * 256 + low;
}

/** A datagram, and the address that it is from; undefined when there is none. */
export function receiveFrom(fd: number): LuaMultiReturn<[string | undefined, string]> {
  lengthCell[0] = ADDRESS_SIZE;
  const count = libc.netd_recvfrom(fd, buffer, BUFFER_SIZE, MSG_DONTWAIT, addressBuffer, lengthCell);
  if (count < 0) return $multi(undefined, "");
  return $multi(ffi.string(buffer, count), ffi.string(addressBuffer, lengthCell[0]));
}

export function sendTo(fd: number, data: string, address: string): number {
  const flags = MSG_DONTWAIT + MSG_NOSIGNAL;
  return outcome(libc.netd_sendto(fd, data, data.length, flags, address, address.length));
}

/** Of a connected socket: up to 64 KiB, empty at the end; or a negative errno. */
export function receiveData(fd: number): string | number {
  const count = outcome(libc.netd_recvfrom(fd, buffer, BUFFER_SIZE, MSG_DONTWAIT, undefined, undefined));
  return count < 0 ? count : ffi.string(buffer, count);
}

/** To the other end of a connected socket: how many bytes it took, or a negative errno. */
export function sendData(fd: number, data: string): number {
  return outcome(libc.netd_sendto(fd, data, data.length, MSG_DONTWAIT + MSG_NOSIGNAL, undefined, 0));
}

/** A socket for the kernel's packet filter, of the network namespace that we are in; or a negative errno. */
export function openNetfilterSocket(): number {
  const NETLINK_NETFILTER = 12;
  return outcome(libc.netd_socket(AF_NETLINK, SOCK_RAW + SOCK_OWN, NETLINK_NETFILTER));
}

/** Whether a descriptor is ready: an event may be that of another that had its number in the same round of the loop. */
export function isReadable(fd: number): boolean {
  const POLLIN = 1;
  return libc.netd_poll(ffi.new("struct netd_pollfd", fd, POLLIN, 0), 1, 0) === 1;
}
