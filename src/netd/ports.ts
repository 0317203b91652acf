/** Ports of the host that are held: by a bound socket, which nothing is ever read from. */
import type { HeldPort, NetdAnswer } from "../contract/netd/messages";
import { close } from "../shim/syscalls/files";
import { errorText } from "../shim/syscalls/libc";
import * as inet from "./syscalls/inet";

/** How many numbers are tried that are free on one of the addresses only. */
const MOST_TRIES = 32;

interface Held {
  fd: number;
  /** Not told since `begin`. */
  isStale: boolean;
}

/** By `PROTOCOL ADDRESS PORT`. */
const held = new LuaTable<string, Held>();

export function holdsAny(): boolean {
  const [first] = next(held as unknown as object);
  return first !== undefined;
}

function keyOf(protocol: string, address: string, port: number): string {
  return `${protocol} ${address} ${port}`;
}

/** Sockets that were bound, by their keys. */
type Bound = LuaTable<string, number>;

function closeAll(bound: Bound): void {
  for (const [, fd] of bound) close(fd);
}

/** Binds one address; the number, or a negative errno. Adds to `bound` what was not held before. */
function bindOne(protocol: "tcp" | "udp", address: string, port: number, bound: Bound): number {
  const known = held.get(keyOf(protocol, address, port));
  if (known !== undefined) {
    known.isStale = false;
    return port;
  }
  const target = inet.socketAddress(address, port) ?? error(`"${address}" is no address`, 0);
  const fd = inet.openBound(protocol, target);
  if (fd < 0) return fd;
  inet.keepNothing(fd);
  const number = port === 0 ? inet.localPort(fd) : port;
  bound.set(keyOf(protocol, address, number), fd);
  return number;
}

/** Binds all addresses of a port; its number, or the answer that says what is wrong. */
function bindAll({ protocol, addresses, port }: HeldPort, bound: Bound): number | NetdAnswer {
  let last: NetdAnswer = { error: "no addresses" };
  for (const _try of $range(1, port === 0 ? MOST_TRIES : 1)) {
    const mine: Bound = new LuaTable();
    let number = port;
    let result = 0;
    for (const address of addresses) {
      result = bindOne(protocol, address, number, mine);
      if (result < 0) {
        last = { error: `${protocol} ${address} port ${number}: ${errorText(result)}` };
        if (result === -inet.EADDRINUSE) last = { ...last, taken: { protocol, address, port: number } };
        break;
      }
      number = result;
    }
    if (result > 0) {
      for (const [key, fd] of mine) bound.set(key, fd);
      return number;
    }
    closeAll(mine);
    if (result !== -inet.EADDRINUSE) break;
  }
  return last;
}

/** Holds all of these ports, or none. */
export function hold(ports: readonly HeldPort[]): NetdAnswer {
  const bound: Bound = new LuaTable();
  const numbers: number[] = [];
  for (const port of ports) {
    const result = bindAll(port, bound);
    if (typeof result !== "number") {
      closeAll(bound);
      return result;
    }
    numbers[numbers.length] = result;
  }
  for (const [key, fd] of bound) held.set(key, { fd, isStale: false });
  return { ports: numbers };
}

function drop(key: string): void {
  const one = held.get(key);
  if (one === undefined) return;
  held.delete(key);
  close(one.fd);
}

export function release(ports: readonly HeldPort[]): void {
  for (const { protocol, addresses, port } of ports)
    for (const address of addresses) drop(keyOf(protocol, address, port));
}

/** From now on what is held counts only when it is asked for again. */
export function markPorts(): void {
  for (const [, one] of held) one.isStale = true;
}

/** Lets go of what was not asked for since {@link markPorts}. */
export function dropStalePorts(): void {
  const stale: string[] = [];
  for (const [key, one] of held) if (one.isStale) stale[stale.length] = key;
  for (const key of stale) drop(key);
}
