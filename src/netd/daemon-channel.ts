/** The connection with the daemon; docs/netd.md has the protocol. */
import * as cjson from "cjson";
import { NETD_SOCKET, NETD_VERSION, type NetdAnswer, type NetdRequest } from "../contract/netd/messages";
import { close, watch } from "../shim/loop";
import * as files from "../shim/syscalls/files";
import { errorText } from "../shim/syscalls/libc";
import * as sockets from "../shim/syscalls/sockets";
import * as waiting from "../shim/syscalls/waiting";
import * as containers from "./containers";
import { askedNames, forgetOwner } from "./egress";
import * as ports from "./ports";
import { releaseLater } from "./resident";
import { setResolvConf } from "./resolv-conf";
import { peerUser } from "./syscalls/inet";

/** How many connections may wait. */
const BACKLOG = 64;

/** -1: no daemon is there. */
let connection = -1;
/** The last request was to end. */
let quits = false;

/** Whether there is nothing to be here for: nobody is there who could give us something, or the daemon has said that it won't. */
export function isOver(): boolean {
  return (connection < 0 || quits) && !ports.holdsAny() && !containers.hasContainers();
}

/** Listens for daemons in the directory. Throws a message. */
export function listenForDaemons(directory: string): void {
  const entered = files.chdir(directory);
  if (entered < 0) error(`${directory}: ${errorText(entered)}`, 0);
  // That of one that was killed: a daemon makes sure that it is gone before it starts another.
  files.unlink(NETD_SOCKET);
  // By a short name: a socket's may have 107 bytes.
  const socket = sockets.listenUnix(NETD_SOCKET, sockets.SOCK_SEQPACKET, BACKLOG);
  if (socket < 0) error(`${directory}/${NETD_SOCKET}: ${errorText(socket)}`, 0);
  files.chdir("/");
  const result = watch(socket, waiting.EPOLLIN, () => {
    const fd = sockets.accept(socket);
    if (fd < 0) return;
    // Its mode keeps others out; one that has got hold of a descriptor of it, this.
    if (peerUser(fd) !== 0 || watch(fd, waiting.EPOLLIN, () => receive(fd)) < 0) files.close(fd);
  });
  if (result < 0) error(`epoll: ${errorText(result)}`, 0);
}

/** Serves the daemon that has started us. */
export function serveDaemon(fd: number): void {
  connection = fd;
  watch(fd, waiting.EPOLLIN, () => receive(fd));
}

function hangUp(fd: number): void {
  close(fd);
  if (connection === fd) connection = -1;
}

function receive(fd: number): void {
  const [packet, first, second] = sockets.receivePacket(fd);
  if (packet === "") {
    hangUp(fd);
    return;
  }
  releaseLater();
  // Who says something is the daemon, and the one before it is no more.
  if (connection !== fd) close(connection);
  connection = fd;
  const descriptors = { first, second };
  const [ok, result] = pcall(() => carryOut(cjson.decode(packet) as NetdRequest, descriptors));
  // Those that nobody has taken.
  for (const left of [descriptors.first, descriptors.second]) if (left >= 0) files.close(left);
  const answer: NetdAnswer = ok ? (result as NetdAnswer) : { error: `${result}` };
  // Who does not take its answers is told everything anew when it connects again.
  if (sockets.send(fd, cjson.encode(answer)) < 0) hangUp(fd);
}

const DONE: NetdAnswer = { error: undefined };

function carryOut(request: NetdRequest, descriptors: { first: number; second: number }): NetdAnswer {
  quits = request.do === "quit";
  switch (request.do) {
    case "begin":
      setResolvConf(request.resolvConf);
      ports.markPorts();
      containers.markContainers();
      return { version: NETD_VERSION };
    case "end":
      ports.dropStalePorts();
      containers.dropStaleContainers();
      return DONE;
    case "hold":
      return ports.hold(request.ports);
    case "release":
      ports.release(request.ports);
      return DONE;
    case "attach": {
      const { first, second } = descriptors;
      if (first < 0) error("no namespace came with it", 0);
      descriptors.first = -1;
      descriptors.second = -1;
      containers.attach(request.key, request, first, second);
      return DONE;
    }
    case "update":
      containers.update(request.key, request);
      return DONE;
    case "detach":
      containers.detach(request.key);
      return DONE;
    case "forget":
      forgetOwner(request.addresses);
      return DONE;
    case "egress":
      return { egress: askedNames(request.key) };
    case "quit":
      return DONE;
    default:
      return error(`no such request: ${(request as { do: unknown }).do}`, 0);
  }
}
