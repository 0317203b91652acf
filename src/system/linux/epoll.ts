import { closeSync } from "node:fs";
import koffi from "koffi";
import { libc, systemError } from "./libc.js";

const epollCreate1 = libc.func("int epoll_create1(int flags)");
const epollCtl = libc.func("int epoll_ctl(int epfd, int op, int fd, uint8_t *event)");
const epollWait = libc.func("int epoll_wait(int epfd, uint8_t *events, int maxevents, int timeout)");

export const EPOLLIN = 0x001;
export const EPOLLHUP = 0x010;
const EPOLLRDHUP = 0x2000;
const EPOLLONESHOT = 1 << 30;

const EPOLL_CLOEXEC = 0x80000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
/** struct epoll_event is packed on x86-64 only. */
const EVENT_SIZE = process.arch === "x64" ? 12 : 16;
const DATA_OFFSET = EVENT_SIZE - 8;
const MAX_EVENTS = 256;

type Listener = (events: number) => void;

function rethrow(error: unknown): never {
  throw error;
}

/**
 * Waits for any kind of descriptor that epoll can wait for, and that Node can't (eventfd, pidfd, inotify, FIFO hang-ups): an epoll set of its own,
 * which Node's loop waits for as for any descriptor. Callbacks run one after the other. Level-triggered: a callback drains its descriptor or removes it.
 *
 * A callback that throws loses its watch, and nobody else does: of one container's trouble the others hear nothing.
 *
 * A descriptor is known by a token of its own: a number that was closed and given out again while an event was under way can't
 * be mistaken for the old one.
 */
export class Epoll {
  readonly #fd: number;
  readonly #handle: ReturnType<typeof koffi.node.poll>;
  readonly #events = Buffer.alloc(MAX_EVENTS * EVENT_SIZE);
  readonly #event = Buffer.alloc(EVENT_SIZE);
  readonly #listeners = new Map<number, Listener>();
  readonly #tokens = new Map<number, number>();
  readonly #onError: (error: unknown) => void;
  #nextToken = 1;
  #closed = false;

  /** @param onError is told what callbacks throw; without, it is thrown on, into Node's loop */
  constructor(onError: (error: unknown) => void = rethrow) {
    this.#onError = onError;
    this.#fd = epollCreate1(EPOLL_CLOEXEC);
    if (this.#fd < 0) throw systemError("epoll_create1");
    // Not in the callback itself: after that one Node would not run what waits for promises.
    this.#handle = koffi.node.poll(this.#fd, () => setImmediate(() => this.#dispatch()));
  }

  /** How many descriptors are watched. */
  get size(): number {
    return this.#tokens.size;
  }

  /**
   * Watches `fd`; hang-up and error are always reported. Does nothing after {@link close}: what is still under way when the daemon ends has
   * nothing to wait for. Throws a system error, or an Error when it is watched already.
   */
  add(fd: number, events: number, listener: Listener): void {
    if (this.#closed) return;
    if (this.#tokens.has(fd)) throw new Error(`epoll: descriptor ${fd} is watched already`);
    const token = this.#nextToken++;
    this.#control(EPOLL_CTL_ADD, fd, events, token);
    this.#tokens.set(fd, token);
    this.#listeners.set(token, listener);
  }

  /** Ends the watch; call it before the descriptor is closed. Does nothing for a descriptor that is not watched, or after {@link close}. */
  remove(fd: number): void {
    const token = this.#tokens.get(fd);
    if (token === undefined || this.#closed) return;
    this.#tokens.delete(fd);
    this.#listeners.delete(token);
    this.#control(EPOLL_CTL_DEL, fd, 0, 0);
  }

  /**
   * Calls `listener` once, when the other side of a socket will send no more. For a descriptor that somebody else closes, at a time of their own:
   * the kernel has ended the watch by then. Does nothing after {@link close}. Throws a system error.
   * @returns to be called once the descriptor is closed: the listener is forgotten
   */
  hangUp(fd: number, listener: () => void): () => void {
    if (this.#closed) return () => {};
    const token = this.#nextToken++;
    const forget = () => this.#listeners.delete(token);
    this.#control(EPOLL_CTL_ADD, fd, EPOLLRDHUP | EPOLLONESHOT, token);
    this.#listeners.set(token, () => {
      forget();
      listener();
    });
    return forget;
  }

  /** Ends all watches, which would keep the process from ending. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handle.close();
    closeSync(this.#fd);
  }

  #control(op: number, fd: number, events: number, token: number): void {
    this.#event.writeUInt32LE(events, 0);
    this.#event.writeBigUInt64LE(BigInt(token), DATA_OFFSET);
    if (epollCtl(this.#fd, op, fd, this.#event) !== 0) throw systemError("epoll_ctl");
  }

  #dispatch(): void {
    if (this.#closed) return;
    // What does not fit is reported again in the loop's next turn.
    const count = epollWait(this.#fd, this.#events, MAX_EVENTS, 0);
    for (let i = 0; i < count && !this.#closed; i++) {
      const event = i * EVENT_SIZE;
      const token = Number(this.#events.readBigUInt64LE(event + DATA_OFFSET));
      try {
        this.#listeners.get(token)?.(this.#events.readUInt32LE(event));
      } catch (error) {
        this.#drop(token);
        this.#onError(error);
      }
    }
  }

  /** Otherwise what it has not taken would be reported for ever. */
  #drop(token: number): void {
    for (const [fd, known] of this.#tokens) {
      if (known !== token) continue;
      try {
        this.remove(fd);
      } catch {
        // Closed already, which has taken it out of the set.
      }
    }
  }
}
