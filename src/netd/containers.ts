/** The containers whose names are answered, and their sockets. */
import type { Naming, NetdEgress } from "../contract/netd/messages";
import { callIn, close, watch } from "../shim/loop";
import * as files from "../shim/syscalls/files";
import { errorText } from "../shim/syscalls/libc";
import * as waiting from "../shim/syscalls/waiting";
import { gate } from "./gate";
import { enter, leave, type Places } from "./names";
import { pause } from "./pause";
import { redirect } from "./redirect";
import { releaseLater } from "./resident";
import { parseServers } from "./resolv-conf";
import { resolve } from "./resolver";
import * as inet from "./syscalls/inet";
import { namespaceName, ownNamespace, within } from "./syscalls/namespaces";
import { type Client, closeClients, serveClient } from "./tcp-clients";

/** Where each container finds us. */
const ADDRESS = "127.0.0.11";
/** How many questions of a container are answered before the others have their turn. */
const TURN = 16;
/** So many questions of a container in so many ms, then its socket has a pause: one that floods has a part of a processor, not all. */
const MOST_IN_WINDOW = 1_000;
const WINDOW = 100;
/** How many clients may wait to be accepted. */
const BACKLOG = 16;

export interface Container {
  readonly key: string;
  /** While it is attached. */
  isThere: boolean;
  /** {@link namespaceName} */
  readonly namespace: string;
  readonly sockets: readonly number[];
  /** Its process, -1: unknown. */
  process: number;
  places: Places;
  /** Their socket addresses; "host": those that the host has. */
  servers: "host" | readonly string[];
  /** What its {@link Naming} says; for who watches the gate. */
  egress: NetdEgress | undefined;
  /** How many of its questions are with the servers. */
  outstanding: number;
  /** How many it has asked by UDP in the window that ends then. */
  asked: number;
  windowEnd: number;
  /** Its connections, the oldest first. */
  clients: Client[];
  isStale: boolean;
}

const containers = new LuaTable<string, Container>();

export function hasContainers(): boolean {
  const [first] = next(containers as unknown as object);
  return first !== undefined;
}

/**
 * Answers the questions of a container, or goes on to do so.
 *
 * @param namespace, process descriptors, which are ours from now on; process -1: none
 * @param ended is called when the process has ended, and the container was detached therefore
 */
export function attach(key: string, naming: Naming, namespace: number, process: number): void {
  const name = namespaceName(namespace);
  const known = containers.get(key);
  const [ok, message] = pcall(() => {
    if (known?.namespace === name) change(known, naming);
    else {
      if (known !== undefined) drop(known);
      open(key, naming, namespace, name);
    }
  });
  files.close(namespace);
  if (!ok) {
    files.close(process);
    error(message, 0);
  }
  const container = containers.get(key)!;
  container.isStale = false;
  const before = container.process;
  container.process = process;
  close(before);
  if (process < 0) return;
  const result = watch(process, waiting.EPOLLIN, () => {
    if (inet.isReadable(process)) drop(container);
  });
  if (result < 0) error(`pidfd: ${errorText(result)}`, 0);
}

/** Sets its names and servers. Throws a message. */
function change(container: Container, naming: Naming): void {
  const before = container.places;
  container.places = enter(naming.endpoints);
  leave(before);
  container.servers = serversOf(naming);
  container.egress = naming.egress;
  gate.current?.changed(container, true);
}

function serversOf({ servers }: Naming): "host" | readonly string[] {
  if (servers === "host") return "host";
  return servers === "none" ? [] : parseServers(servers);
}

function open(key: string, naming: Naming, namespace: number, name: string): void {
  // It would be the host's own resolver that is led astray.
  if (name === namespaceName(ownNamespace())) error(`${key} is in the host's network namespace`, 0);
  const address = inet.socketAddress(ADDRESS, 0)!;
  let udp = -1;
  let tcp = -1;
  let netfilter = -1;
  let isReplaced = false;
  const [ok, message] = pcall(() => {
    const entered = within(namespace, () => {
      udp = inet.openBound("udp", address);
      tcp = inet.openBound("tcp", address);
      netfilter = inet.openNetfilterSocket();
    });
    for (const result of [entered, udp, tcp, netfilter])
      if (result < 0) error(`${key}, in its network namespace: ${errorText(result)}`, 0);
    const listening = inet.listen(tcp, BACKLOG);
    if (listening < 0) error(`${key}, ${ADDRESS}: ${errorText(listening)}`, 0);
    isReplaced = redirect(netfilter, string.sub(address, 5, 8), inet.localPort(udp), inet.localPort(tcp));
    const container: Container = {
      ...{ key, isThere: true, namespace: name, sockets: [udp, tcp], process: -1, places: enter(naming.endpoints) },
      ...{ servers: serversOf(naming), egress: naming.egress, outstanding: 0, asked: 0, windowEnd: 0 },
      ...{ clients: [], isStale: false },
    };
    containers.set(key, container);
    const onDatagrams = () => {
      if (!answerDatagrams(container, udp)) pause(container, udp, onDatagrams);
    };
    const onClient = () => {
      if (!serveClient(container, tcp)) pause(container, tcp, onClient);
    };
    const result = math.min(watch(udp, waiting.EPOLLIN, onDatagrams), watch(tcp, waiting.EPOLLIN, onClient));
    if (result < 0) {
      drop(container);
      udp = -1;
      tcp = -1;
      error(`${key}: ${errorText(result)}`, 0);
    }
    gate.current?.changed(container, true);
  });
  if (isReplaced) closeLater(netfilter);
  else files.close(netfilter);
  if (ok) return;
  if (udp >= 0) files.close(udp);
  if (tcp >= 0) files.close(tcp);
  error(message, 0);
}

/** In ms: of several whose rules were replaced, only the first that is closed waits for the kernel. */
const CLOSING_DELAY = 50;
let closing: number[] = [];

function closeLater(netfilter: number): void {
  if (closing.length === 0) callIn(CLOSING_DELAY, closeAll);
  closing[closing.length] = netfilter;
}

function closeAll(): void {
  for (const socket of closing) files.close(socket);
  closing = [];
}

/** Other names, other servers. Throws a message. */
export function update(key: string, naming: Naming): void {
  const container = containers.get(key) ?? error(`${key} is not attached`, 0);
  change(container, naming);
  container.isStale = false;
}

export function detach(key: string): void {
  const container = containers.get(key);
  if (container !== undefined) drop(container);
}

function drop(container: Container): void {
  if (containers.get(container.key) === container) containers.delete(container.key);
  container.isThere = false;
  leave(container.places);
  for (const fd of container.sockets) close(fd);
  close(container.process);
  closeClients(container);
  gate.current?.changed(container, false);
}

/** From now on a container counts only when it is told of again. */
export function markContainers(): void {
  for (const [, container] of containers) container.isStale = true;
}

/** Detaches those that were not told of since {@link markContainers}. */
export function dropStaleContainers(): void {
  const stale: Container[] = [];
  for (const [, container] of containers) if (container.isStale) stale[stale.length] = container;
  for (const container of stale) drop(container);
}

/** Answers some questions; false when the container has asked so much that it has to wait. */
function answerDatagrams(container: Container, socket: number): boolean {
  releaseLater();
  const time = waiting.now();
  if (time >= container.windowEnd) {
    container.windowEnd = time + WINDOW;
    container.asked = 0;
  }
  for (const _question of $range(1, TURN)) {
    const [packet, from] = inet.receiveFrom(socket);
    if (packet === undefined) return true;
    container.asked++;
    resolve(container, packet, "udp", (answer) => {
      if (container.isThere) inet.sendTo(socket, answer, from);
    });
  }
  return container.asked < MOST_IN_WINDOW;
}
