import { closeSync } from "node:fs";
import koffi from "koffi";
import { errnoText, libc, systemError } from "../linux/libc.js";
import {
  decodeAttributes,
  decodeMessages,
  encodeMessage,
  type NetlinkMessage,
  NLM_F_ACK,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  type ReceivedMessage,
  textOf,
} from "./netlink-message.js";
import { inNetworkNamespace } from "./network-namespace.js";

const socketCall = libc.func("int socket(int domain, int type, int protocol)");
const bind = libc.func("int bind(int fd, uint8_t *address, uint32_t size)");
const setsockopt = libc.func("int setsockopt(int fd, int level, int name, uint8_t *value, uint32_t size)");
const send = libc.func("long send(int fd, uint8_t *data, size_t length, int flags)");
const recv = libc.func("long recv(int fd, uint8_t *data, size_t length, int flags)");

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0x80000;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const MSG_DONTWAIT = 0x40;
/** Of an error's attributes: its text. */
const NLMSGERR_ATTR_MSG = 1;
/** In bytes: more than the kernel ever puts into one answer. */
const RECEIVE_SIZE = 1 << 16;
/** In bytes: as much of a batch is sent at once; the kernel takes 200 kB. */
const BATCH_SIZE = 1 << 16;

/** How often a list is asked for again. */
const MAX_LISTS = 5;
/** What was received last without a wait: it is read before anything else is received. */
const received = Buffer.alloc(RECEIVE_SIZE);

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

/** Why the kernel has refused a message: shaped as Node's own errors are. */
export interface NetlinkError extends Error {
  /** "EEXIST" */
  code: string;
  /** Negative, as in Node. */
  errno: number;
}

/**
 * The kernel takes one such call at a time anyway (the RTNL lock is one for all namespaces), and who waits for it sits in a thread of
 * Node's pool: no more than one of ours does.
 */
let last: Promise<unknown> = Promise.resolve();

function inTurn<T>(operation: () => Promise<T>): Promise<T> {
  const result = last.then(operation, operation);
  last = result.catch(() => {});
  return result;
}

/** A socket of netlink(7). Calls may wait for the kernel's locks; they do that off the main thread. */
export class NetlinkSocket implements Disposable {
  readonly fd: number;
  #sequence = 0;
  /** Calls that are under way, in threads of the pool: the descriptor is theirs until they are over. */
  #calls = 0;
  #closed = false;

  /**
   * @param options.namespace a descriptor of the network namespace that it is of; undefined: this process's own
   * @param options.groups whose messages it gets without asking
   * @throws a system error
   */
  constructor(protocol: number, { namespace, groups = [] }: { namespace?: number; groups?: readonly number[] } = {}) {
    const open = () => {
      const fd: number = socketCall(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
      if (fd < 0) throw systemError("socket");
      return fd;
    };
    this.fd = namespace === undefined ? open() : inNetworkNamespace(namespace, open);
    try {
      const address = Buffer.alloc(12);
      address.writeUInt16LE(AF_NETLINK, 0);
      if (bind(this.fd, address, address.length) !== 0) throw systemError("bind");
      this.#set(NETLINK_EXT_ACK, 1);
      this.#set(NETLINK_CAP_ACK, 1);
      for (const group of groups) {
        if (this.#set(NETLINK_ADD_MEMBERSHIP, group) !== 0) throw systemError("setsockopt");
      }
    } catch (error) {
      closeSync(this.fd);
      throw error;
    }
  }

  #set(name: number, value: number): number {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value, 0);
    return setsockopt(this.fd, SOL_NETLINK, name, bytes, bytes.length);
  }

  /**
   * Has the kernel do one thing after the other; what comes after one that it refuses is done all the same.
   * @returns what the kernel has refused: an error at the message's index
   * @throws a system error of the socket
   */
  request(messages: readonly NetlinkMessage[]): Promise<(NetlinkError | undefined)[]> {
    return inTurn(async () => {
      const results: (NetlinkError | undefined)[] = [];
      for (const batch of batches(messages)) results.push(...(await this.#exchange(batch)));
      return results;
    });
  }

  /** {@link request} of what all has to succeed. @throws NetlinkError, the first one; a system error */
  async do(...messages: readonly NetlinkMessage[]): Promise<void> {
    const failed = (await this.request(messages)).find((error) => error !== undefined);
    if (failed !== undefined) throw failed;
  }

  async #exchange(messages: readonly NetlinkMessage[]): Promise<(NetlinkError | undefined)[]> {
    const first = this.#sequence + 1;
    this.#sequence += messages.length;
    const data = Buffer.concat(
      messages.map(({ type, flags, body }, index) =>
        encodeMessage({ type, flags: flags | NLM_F_REQUEST | NLM_F_ACK, body }, first + index),
      ),
    );
    await this.#send(data);
    const results = new Map<number, NetlinkError | undefined>();
    // The kernel has answered by the time that it has taken the messages.
    while (results.size < messages.length) {
      for (const message of decodeMessages(this.#receiveNow() ?? (await this.#receive()))) {
        if (message.type === NLMSG_ERROR && message.sequence >= first) results.set(message.sequence, errorOf(message));
      }
    }
    return messages.map((_, index) => results.get(first + index));
  }

  /** Asks for one thing. @returns the answer, undefined without one @throws NetlinkError, a system error */
  ask(message: NetlinkMessage): Promise<ReceivedMessage | undefined> {
    return inTurn(async () => {
      const sequence = ++this.#sequence;
      await this.#send(encodeMessage({ ...message, flags: message.flags | NLM_F_REQUEST | NLM_F_ACK }, sequence));
      let answer: ReceivedMessage | undefined;
      for (;;) {
        for (const received of decodeMessages(this.#receiveNow() ?? (await this.#receive()))) {
          if (received.sequence !== sequence) continue;
          if (received.type !== NLMSG_ERROR) {
            answer = { ...received, body: Buffer.from(received.body) };
            continue;
          }
          const error = errorOf(received);
          if (error !== undefined) throw error;
          return answer;
        }
      }
    });
  }

  /** Asks for all of a kind. @throws NetlinkError, a system error */
  dump(message: NetlinkMessage): Promise<ReceivedMessage[]> {
    return inTurn(async () => {
      // What changes while it is listed makes the list one of no moment: a few times it is asked for again.
      for (let tries = 0; ; tries++) {
        const { answers, isWhole } = await this.#list(message);
        if (isWhole || tries >= MAX_LISTS) return answers;
      }
    });
  }

  async #list(message: NetlinkMessage): Promise<{ answers: ReceivedMessage[]; isWhole: boolean }> {
    const sequence = ++this.#sequence;
    await this.#send(encodeMessage({ ...message, flags: message.flags | NLM_F_REQUEST | NLM_F_DUMP }, sequence));
    const answers: ReceivedMessage[] = [];
    let isWhole = true;
    for (;;) {
      for (const received of decodeMessages(await this.#receive())) {
        if (received.sequence !== sequence) continue;
        if ((received.flags & NLM_F_DUMP_INTR) !== 0) isWhole = false;
        if (received.type === NLMSG_DONE) return { answers, isWhole };
        if (received.type === NLMSG_ERROR) {
          const error = errorOf(received);
          if (error !== undefined) throw error;
        } else answers.push(received);
      }
    }
  }

  /** Messages of its groups that have come; undefined when there are none at the moment. @throws a system error: ENOBUFS, some are lost */
  received(): ReceivedMessage[] | undefined {
    const data = this.#receiveNow();
    return data === undefined ? undefined : decodeMessages(data);
  }

  #receiveNow(): Buffer | undefined {
    if (this.#closed) throw new Error("netlink: the socket is closed");
    const length = Number(recv(this.fd, received, received.length, MSG_DONTWAIT));
    if (length >= 0) return received.subarray(0, length);
    if (koffi.errno() === koffi.os.errno.EAGAIN) return undefined;
    throw systemError("recv");
  }

  async #receive(): Promise<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(RECEIVE_SIZE);
    const length = await this.#aside("recv", (done) => recv.async(this.fd, buffer, buffer.length, 0, done));
    return buffer.subarray(0, length);
  }

  async #send(data: Buffer): Promise<void> {
    await this.#aside("send", (done) => send.async(this.fd, data, data.length, 0, done));
  }

  async #aside(name: string, call: (done: Done) => void): Promise<number> {
    if (this.#closed) throw new Error("netlink: the socket is closed");
    this.#calls++;
    try {
      return await called(name, call);
    } finally {
      this.#calls--;
      if (this.#closed && this.#calls === 0) closeSync(this.fd);
    }
  }

  /** What is under way comes to its end, or fails. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#calls === 0) closeSync(this.fd);
  }
}

type Done = (error: unknown, result: number | bigint) => void;

function called(name: string, call: (done: Done) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    call((error, result) => {
      // What is asked for right here is the errno of this very call.
      if (error) reject(error);
      else if (Number(result) < 0) reject(systemError(name));
      else resolve(Number(result));
    });
  });
}

function* batches(messages: readonly NetlinkMessage[]): Generator<NetlinkMessage[]> {
  let batch: NetlinkMessage[] = [];
  let size = 0;
  for (const message of messages) {
    if (size > 0 && size + message.body.length > BATCH_SIZE) {
      yield batch;
      batch = [];
      size = 0;
    }
    batch.push(message);
    // A header, and what fills it up.
    size += message.body.length + 20;
  }
  if (batch.length > 0) yield batch;
}

/** Undefined: it was done. */
function errorOf({ flags, body }: ReceivedMessage): NetlinkError | undefined {
  const errno = body.readInt32LE(0);
  if (errno === 0) return undefined;
  const asked = body.readUInt32LE(4);
  const attributes = (flags & NLM_F_CAPPED) !== 0 ? 4 + 16 : 4 + asked;
  const why =
    (flags & NLM_F_ACK_TLVS) !== 0 ? textOf(decodeAttributes(body.subarray(attributes)).get(NLMSGERR_ATTR_MSG)) : "";
  const error = new Error(why === "" ? errnoText(-errno) : `${errnoText(-errno)}: ${why}`) as NetlinkError;
  error.errno = errno;
  error.code = CODES.get(-errno) ?? `errno ${-errno}`;
  return error;
}

const CODES = new Map(Object.entries(koffi.os.errno).map(([code, errno]) => [errno, code]));
