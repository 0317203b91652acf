import { closeSync } from "node:fs";
import { LONGEST_PACKET, type NetdAnswer, type NetdRequest } from "../../../contract/netd/messages.js";
import { EPOLLIN, epoll } from "../../../system/linux/epoll.js";
import { receivePacket, sendPacketWithDescriptors } from "../../../system/linux/seqpacket.js";

/** netd has died, or stands still, before it has answered: perhaps it has done what it was asked for. */
export class NetdGone extends Error {
  constructor(why: string) {
    super(`containerd-netd ${why}`);
  }
}

/** In ms: how long an answer may take. One that stands still (stopped, swapped out) is replaced. */
const ANSWER_TIMEOUT = 10_000;
/** How many requests may be with netd: so many fit into the socket. */
const MAX_PENDING = 8;

interface Pending {
  packet: string;
  /** Opens what goes with it; closed once it is sent. */
  open: () => number[];
  resolve: (answer: NetdAnswer) => void;
  reject: (error: unknown) => void;
}

/** A connection with a netd: it answers one request after the other. */
export class NetdConnection {
  readonly #socket: number;
  readonly #pending: Pending[] = [];
  readonly #waiting: Pending[] = [];
  readonly #onGone: (why: string) => void;
  #overdue: NodeJS.Timeout | undefined;
  #gone: string | undefined;

  /**
   * @param socket is ours from now on
   * @param onGone is called once, unless {@link close} comes first
   */
  constructor(socket: number, onGone: (why: string) => void) {
    this.#socket = socket;
    this.#onGone = onGone;
    epoll.add(socket, EPOLLIN, () => this.#receive());
  }

  /** What netd answers. Throws {@link NetdGone}, an Error when the request is too long, and what `open` throws. */
  ask(request: NetdRequest, open: () => number[] = () => []): Promise<NetdAnswer> {
    return new Promise((resolve, reject) => {
      const packet = JSON.stringify(request);
      if (Buffer.byteLength(packet) > LONGEST_PACKET)
        return reject(new Error(`the names of a container are too long: more than ${LONGEST_PACKET} bytes`));
      this.#waiting.push({ packet, open, resolve, reject });
      this.#sendWaiting();
    });
  }

  #sendWaiting(): void {
    while (this.#pending.length < MAX_PENDING) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      if (this.#gone !== undefined) {
        next.reject(new NetdGone(this.#gone));
        continue;
      }
      let descriptors: number[] = [];
      try {
        descriptors = next.open();
        sendPacketWithDescriptors(this.#socket, next.packet, descriptors);
        this.#pending.push(next);
        this.#expectAnswer();
      } catch (error) {
        const { syscall } = error as { syscall?: string };
        if (syscall === "sendmsg") {
          // At once, not when that is read: who asks again must not get this connection again.
          this.#end("has died");
          next.reject(new NetdGone("has died"));
        } else next.reject(error);
      } finally {
        for (const descriptor of descriptors) closeSync(descriptor);
      }
    }
  }

  #expectAnswer(): void {
    this.#overdue ??= setTimeout(() => {
      this.#overdue = undefined;
      // This process may have been stopped itself: the answer may be there, unread.
      if (!this.#receive() && this.#pending.length > 0) this.#end(`gives no answer for ${ANSWER_TIMEOUT / 1000} s`);
    }, ANSWER_TIMEOUT);
  }

  /** Whether there was an answer. */
  #receive(): boolean {
    let isAnswer = false;
    while (this.#gone === undefined) {
      const packet = receivePacket(this.#socket);
      if (packet === undefined) break;
      if (packet === "") {
        this.#end("has died");
        break;
      }
      isAnswer = true;
      clearTimeout(this.#overdue);
      this.#overdue = undefined;
      this.#pending.shift()?.resolve(JSON.parse(packet));
      this.#sendWaiting();
      if (this.#pending.length > 0) this.#expectAnswer();
    }
    return isAnswer;
  }

  #end(why: string): void {
    if (this.#gone !== undefined) return;
    this.#close(why);
    this.#onGone(why);
  }

  #close(why: string): void {
    this.#gone = why;
    clearTimeout(this.#overdue);
    epoll.remove(this.#socket);
    closeSync(this.#socket);
    for (const { reject } of this.#pending.splice(0)) reject(new NetdGone(why));
    this.#sendWaiting();
  }

  close(): void {
    if (this.#gone === undefined) this.#close("was left");
  }
}
