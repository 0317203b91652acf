/** Clients that ask over TCP: one question after the other, in a time that has an end. */
import { callIn, close, rewatch, watch } from "../shim/loop";
import { EAGAIN } from "../shim/syscalls/libc";
import { accept } from "../shim/syscalls/sockets";
import * as waiting from "../shim/syscalls/waiting";
import type { Container } from "./containers";
import { resolve } from "./resolver";
import * as inet from "./syscalls/inet";

const ENFILE = 23;
const EMFILE = 24;
/** Of one container: the oldest makes room for a new one. */
const MOST_CLIENTS = 16;
/** In ms: how long one may be silent, or take to send a question or to read an answer. */
const PATIENCE = 10_000;
/** In ms: how exactly that is kept. */
const TICK = 1_000;
/** In bytes: no question is longer. */
const LONGEST_QUESTION = 4_096;

export interface Client {
  readonly container: Container;
  fd: number;
  received: string;
  unsent: string;
  /** A question of it is being answered: no more is read meanwhile. */
  isAsking: boolean;
  deadline: number;
}

const clients = new LuaTable<Client, true>();
let count = 0;

/** Accepts one that waits at that socket; false when there are no descriptors left for it. */
export function serveClient(container: Container, socket: number): boolean {
  const fd = accept(socket);
  if (fd < 0) return fd !== -EMFILE && fd !== -ENFILE;
  if (container.clients.length >= MOST_CLIENTS) closeClient(container.clients[0]);
  const client: Client = {
    ...{ container, fd, received: "", unsent: "", isAsking: false, deadline: waiting.now() + PATIENCE },
  };
  container.clients[container.clients.length] = client;
  clients.set(client, true);
  count++;
  if (count === 1) callIn(TICK, expire);
  if (watch(fd, waiting.EPOLLIN, () => receive(client)) < 0) closeClient(client);
  return true;
}

export function closeClients(container: Container): void {
  while (container.clients.length > 0) closeClient(container.clients[0]);
}

function closeClient(client: Client): void {
  if (client.fd < 0) return;
  close(client.fd);
  client.fd = -1;
  clients.delete(client);
  count--;
  client.container.clients = client.container.clients.filter((other) => other !== client);
}

function receive(client: Client): void {
  const data = inet.receiveData(client.fd);
  if (data === -EAGAIN) return;
  if (typeof data === "number" || data === "") {
    closeClient(client);
    return;
  }
  client.received += data;
  next(client);
}

/** Goes on to the next whole question that has come. */
function next(client: Client): void {
  const [high, low] = string.byte(client.received, 1, 2);
  if (low === undefined) return;
  const length = high * 256 + low;
  if (length > LONGEST_QUESTION) {
    closeClient(client);
    return;
  }
  if (client.received.length < length + 2) return;
  const packet = string.sub(client.received, 3, length + 2);
  client.received = string.sub(client.received, length + 3);
  client.isAsking = true;
  rewatch(client.fd, 0, () => closeClient(client));
  const isQuestion = resolve(client.container, packet, "tcp", (answer) => {
    if (client.fd < 0) return;
    client.isAsking = false;
    client.unsent = string.char(answer.length >> 8, answer.length & 0xff) + answer;
    client.deadline = waiting.now() + PATIENCE;
    send(client);
  });
  // Nothing that follows it would be better.
  if (!isQuestion) closeClient(client);
}

function send(client: Client): void {
  const sent = inet.sendData(client.fd, client.unsent);
  if (sent < 0 && sent !== -EAGAIN) {
    closeClient(client);
    return;
  }
  client.unsent = string.sub(client.unsent, math.max(sent, 0) + 1);
  if (client.unsent !== "") {
    rewatch(client.fd, waiting.EPOLLOUT, () => send(client));
    return;
  }
  rewatch(client.fd, waiting.EPOLLIN, () => receive(client));
  next(client);
}

/** Closes those that have taken too long. Called as long as there are any. */
function expire(): void {
  const time = waiting.now();
  const late: Client[] = [];
  // The servers have an end of their own.
  for (const [client] of clients) if (client.deadline <= time && !client.isAsking) late[late.length] = client;
  for (const client of late) closeClient(client);
  if (count > 0) callIn(TICK, expire);
}
