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
 * Waits for any kind of descriptor that epoll can wait for, and that Node can't (eventfd, pidfd, inotify, FIFO hang-ups): one epoll set for
 * the whole process, as Node's loop is one, which waits for it as for any descriptor. Callbacks run one after the other. Level-triggered: a
 * callback drains its descriptor or removes it.
 *
 * A callback that throws loses its watch, and nobody else does: of one container's trouble the others hear nothing.
 *
 * A descriptor is known by a token of its own: a number that was closed and given out again while an event was under way can't
 * be mistaken for the old one.
 */
class Epoll {
  /** There while something is watched: it keeps the process from ending. */
  #set: { fd: number; handle: ReturnType<typeof koffi.node.poll> } | undefined;
  readonly #events = Buffer.alloc(MAX_EVENTS * EVENT_SIZE);
  readonly #event = Buffer.alloc(EVENT_SIZE);
  readonly #listeners = new Map<number, Listener>();
  readonly #tokens = new Map<number, number>();
  /** Is told what callbacks throw; without, it is thrown on, into Node's loop. */
  onError: (error: unknown) => void = rethrow;
  #nextToken = 1;
  #closed = false;

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
    this.#set ??= this.#open();
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
    this.#releaseUnused();
  }

  /**
   * Calls `listener` once, when the other side of a socket will send no more. The descriptor may be closed by its owner at any time: the
   * kernel then ends the watch. Does nothing after {@link close}. Throws a system error.
   * @returns to be called once the descriptor is closed: the listener is forgotten
   */
  hangUp(fd: number, listener: () => void): () => void {
    if (this.#closed) return () => {};
    this.#set ??= this.#open();
    const token = this.#nextToken++;
    const forget = () => {
      this.#listeners.delete(token);
      this.#releaseUnused();
    };
    this.#control(EPOLL_CTL_ADD, fd, EPOLLRDHUP | EPOLLONESHOT, token);
    this.#listeners.set(token, () => {
      forget();
      listener();
    });
    return forget;
  }

  /** Ends all watches, which would keep the process from ending; there are none any more after that. */
  close(): void {
    this.#closed = true;
    this.#release();
  }

  #releaseUnused(): void {
    if (this.#listeners.size === 0) this.#release();
  }

  #release(): void {
    if (this.#set === undefined) return;
    this.#set.handle.close();
    closeSync(this.#set.fd);
    this.#set = undefined;
  }

  #open() {
    const fd: number = epollCreate1(EPOLL_CLOEXEC);
    if (fd < 0) throw systemError("epoll_create1");
    // Not in the callback itself: after that one Node would not run what waits for promises.
    return { fd, handle: koffi.node.poll(fd, () => setImmediate(() => this.#dispatch())) };
  }

  #control(op: number, fd: number, events: number, token: number): void {
    this.#event.writeUInt32LE(events, 0);
    this.#event.writeBigUInt64LE(BigInt(token), DATA_OFFSET);
    if (epollCtl(this.#set!.fd, op, fd, this.#event) !== 0) throw systemError("epoll_ctl");
  }

  #dispatch(): void {
    if (this.#set === undefined) return;
    // What does not fit is reported again in the loop's next turn.
    const count = epollWait(this.#set.fd, this.#events, MAX_EVENTS, 0);
    for (let i = 0; i < count && this.#set !== undefined; i++) {
      const event = i * EVENT_SIZE;
      const token = Number(this.#events.readBigUInt64LE(event + DATA_OFFSET));
      try {
        this.#listeners.get(token)?.(this.#events.readUInt32LE(event));
      } catch (error) {
        this.#drop(token);
        this.onError(error);
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
        // It was closed, which has removed it from the set.
      }
    }
  }
}

/** The only epoll set of this process. */
export const epoll = new Epoll();
