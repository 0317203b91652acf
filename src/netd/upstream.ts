/**
 * Questions that are forwarded, from the host's network namespace. Each goes out from a socket, and so a port, of its own with an id of its
 * own: an answer that somebody makes up has to hit both.
 */
import { callIn, close, rewatch, watch } from "../shim/loop";
import { EAGAIN } from "../shim/syscalls/libc";
import * as waiting from "../shim/syscalls/waiting";
import * as dns from "./dns";
import { randomBytes } from "./random";
import * as inet from "./syscalls/inet";

/** In ms: how long each try waits for an answer. */
const TRIES = [1_500, 2_500, 4_000];
/** In ms: over TCP, a connection and a long answer. */
const TCP_TRIES = [4_000, 4_000];
/** In ms: how long a server that gave no answer is asked after the others. */
const AVOIDED_FOR = 10_000;
/** In ms: how exactly the end of a try is kept. */
const TICK = 100;
/** More servers than that are never behind one name. */
const MOST_AVOIDED = 64;

interface Inquiry {
  readonly question: dns.Question;
  readonly packet: string;
  readonly protocol: "tcp" | "udp";
  readonly servers: readonly string[];
  /** Once: undefined when there is no answer. */
  readonly done: (this: void, answer: string | undefined) => void;
  /** From 0. */
  attempt: number;
  /** How many servers have said at once that they have no answer. */
  refusals: number;
  /** What such a one has said. */
  refusal: string | undefined;
  fd: number;
  id: string;
  deadline: number;
  /** Over TCP: what has still to be sent, and what has come. */
  unsent: string;
  received: string;
}

const inquiries = new LuaTable<Inquiry, true>();
let count = 0;
/** Until when each server is asked last. */
const avoided = new LuaTable<string, number>();
let avoidedCount = 0;

/** Asks the servers, one after the other. `done` is called once: with the answer, or undefined when there is none. */
export function forward(
  question: dns.Question,
  packet: string,
  protocol: "tcp" | "udp",
  servers: readonly string[],
  done: (answer: string | undefined) => void,
): void {
  const inquiry: Inquiry = {
    ...{ question, packet, protocol, servers: inOrder(servers), done, attempt: 0, refusals: 0, refusal: undefined },
    ...{ fd: -1, id: "", deadline: 0, unsent: "", received: "" },
  };
  inquiries.set(inquiry, true);
  count++;
  if (count === 1) callIn(TICK, expire);
  ask(inquiry);
}

/** Those that have answered come first. */
function inOrder(servers: readonly string[]): readonly string[] {
  if (avoidedCount === 0 || servers.length === 1) return servers;
  const time = waiting.now();
  const isAvoided = (server: string) => (avoided.get(server) ?? 0) > time;
  return [...servers.filter((server) => !isAvoided(server)), ...servers.filter((server) => isAvoided(server))];
}

function avoid(server: string): void {
  if (!avoided.has(server)) {
    if (avoidedCount === MOST_AVOIDED) {
      for (const [known] of avoided) avoided.delete(known);
      avoidedCount = 0;
    }
    avoidedCount++;
  }
  avoided.set(server, waiting.now() + AVOIDED_FOR);
}

/** As often as each try is made; every server has one. */
function triesOf({ protocol, servers }: Inquiry): number {
  return math.max(servers.length, (protocol === "tcp" ? TCP_TRIES : TRIES).length);
}

function serverOf(inquiry: Inquiry): string {
  return inquiry.servers[inquiry.attempt % inquiry.servers.length];
}

/** The next try, or the end. */
function ask(inquiry: Inquiry): void {
  while (inquiry.attempt < triesOf(inquiry)) {
    if (send(inquiry)) {
      const waits = inquiry.protocol === "tcp" ? TCP_TRIES : TRIES;
      inquiry.deadline = waiting.now() + waits[math.min(inquiry.attempt, waits.length - 1)];
      return;
    }
    closeSocket(inquiry);
    inquiry.attempt++;
  }
  finish(inquiry, inquiry.refusal);
}

function send(inquiry: Inquiry): boolean {
  const server = serverOf(inquiry);
  const fd = inet.openSocket(inquiry.protocol, server);
  if (fd < 0) return false;
  inquiry.fd = fd;
  inquiry.id = randomBytes(2);
  const packet = dns.withId(inquiry.packet, inquiry.id);
  const result = inet.connect(fd, server);
  if (inquiry.protocol === "udp") {
    if (result < 0 || inet.sendData(fd, packet) < 0) return false;
    return watch(fd, waiting.EPOLLIN, () => receiveDatagram(inquiry)) >= 0;
  }
  if (result < 0 && result !== -inet.EINPROGRESS) return false;
  inquiry.unsent = string.char(packet.length >> 8, packet.length & 0xff) + packet;
  inquiry.received = "";
  return watch(fd, waiting.EPOLLOUT, () => sendStream(inquiry)) >= 0;
}

function receiveDatagram(inquiry: Inquiry): void {
  const data = inet.receiveData(inquiry.fd);
  if (data === -EAGAIN) return;
  // Nobody listens there.
  if (typeof data === "number") {
    failed(inquiry);
    return;
  }
  if (dns.isAnswer(data, inquiry.id, inquiry.question)) answered(inquiry, data);
}

function sendStream(inquiry: Inquiry): void {
  if (inet.connectionError(inquiry.fd) < 0) {
    failed(inquiry);
    return;
  }
  const sent = inet.sendData(inquiry.fd, inquiry.unsent);
  if (sent === -EAGAIN) return;
  if (sent < 0) {
    failed(inquiry);
    return;
  }
  inquiry.unsent = string.sub(inquiry.unsent, sent + 1);
  if (inquiry.unsent !== "") return;
  rewatch(inquiry.fd, waiting.EPOLLIN, () => receiveStream(inquiry));
}

function receiveStream(inquiry: Inquiry): void {
  const data = inet.receiveData(inquiry.fd);
  if (data === -EAGAIN) return;
  if (typeof data === "number" || data === "") {
    failed(inquiry);
    return;
  }
  inquiry.received += data;
  const [high, low] = string.byte(inquiry.received, 1, 2);
  if (low === undefined || inquiry.received.length < 2 + high * 256 + low) return;
  const packet = string.sub(inquiry.received, 3, 2 + high * 256 + low);
  if (dns.isAnswer(packet, inquiry.id, inquiry.question)) answered(inquiry, packet);
  else failed(inquiry);
}

/** The server has answered: perhaps only that it can't. */
function answered(inquiry: Inquiry, packet: string): void {
  const answer = dns.withId(packet, inquiry.question.id);
  const code = dns.codeOf(answer);
  const isRefusal = code === dns.SERVER_FAILURE || code === dns.REFUSED || code === dns.NOT_IMPLEMENTED;
  if (!isRefusal) {
    finish(inquiry, answer);
    return;
  }
  inquiry.refusal = answer;
  inquiry.refusals++;
  // All have said so.
  if (inquiry.refusals >= inquiry.servers.length) {
    finish(inquiry, answer);
    return;
  }
  closeSocket(inquiry);
  inquiry.attempt++;
  ask(inquiry);
}

/** This try has come to nothing. */
function failed(inquiry: Inquiry): void {
  avoid(serverOf(inquiry));
  closeSocket(inquiry);
  inquiry.attempt++;
  ask(inquiry);
}

function closeSocket(inquiry: Inquiry): void {
  close(inquiry.fd);
  inquiry.fd = -1;
}

function finish(inquiry: Inquiry, answer: string | undefined): void {
  closeSocket(inquiry);
  inquiries.delete(inquiry);
  count--;
  inquiry.done(answer);
}

/** Ends the tries that have waited long enough. Called as long as there are any. */
function expire(): void {
  const time = waiting.now();
  const late: Inquiry[] = [];
  for (const [inquiry] of inquiries) if (inquiry.deadline <= time) late[late.length] = inquiry;
  for (const inquiry of late) failed(inquiry);
  if (count > 0) callIn(TICK, expire);
}
