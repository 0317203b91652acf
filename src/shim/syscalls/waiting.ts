/** Waiting for descriptors, and the time. */
import type { CData } from "ffi";
import * as ffi from "ffi";
import { declare, outcome } from "./libc";

export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
export const EPOLLHUP = 0x10;
/** Reports changes only, so that one registration serves for as long as the descriptor lives. */
export const EPOLLET = 0x80000000;

const EPOLL_CLOEXEC = 0x80000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const CLOCK_REALTIME = 0;
const CLOCK_MONOTONIC = 1;

interface EpollEvent extends CData {
  events: number;
  fd: number;
}
interface EpollEvents extends CData {
  [index: number]: EpollEvent;
}

interface Libc {
  epoll_create1(this: void, flags: number): number;
  epoll_ctl(this: void, epoll: number, operation: number, fd: number, event: CData | undefined): number;
  epoll_wait(this: void, epoll: number, events: CData, size: number, timeout: number): number;
  clock_gettime(this: void, clock: number, time: CData): number;
}

const eventLayout = ffi.arch === "x64" ? "packed" : "aligned(8)";

const libc = declare(`
struct epoll_event { uint32_t events; int32_t fd; int32_t unused; } __attribute__((${eventLayout}));
struct timespec { long seconds; long nanoseconds; };
int epoll_create1(int);
int epoll_ctl(int, int, int, struct epoll_event *);
int epoll_wait(int, struct epoll_event *, int, int);
int clock_gettime(int, struct timespec *);
`) as Libc;

const EVENTS_SIZE = 8;
const events = ffi.new("struct epoll_event[?]", EVENTS_SIZE) as EpollEvents;
const interest = ffi.new("struct epoll_event") as EpollEvent;
const timespec = ffi.new("struct timespec") as CData & { seconds: unknown; nanoseconds: unknown };

export function createEpoll(): number {
  return outcome(libc.epoll_create1(EPOLL_CLOEXEC));
}

/** Adds a descriptor. -EPERM: it is of a kind that is always ready. */
export function watch(epoll: number, fd: number, mask: number): number {
  interest.events = mask;
  interest.fd = fd;
  return outcome(libc.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, interest));
}

/** Has an edge-triggered descriptor report once more if it is ready now. */
export function watchAgain(epoll: number, fd: number, mask: number): number {
  interest.events = mask;
  interest.fd = fd;
  return outcome(libc.epoll_ctl(epoll, EPOLL_CTL_MOD, fd, interest));
}

export function unwatch(epoll: number, fd: number): void {
  libc.epoll_ctl(epoll, EPOLL_CTL_DEL, fd, undefined);
}

/** Waits for events (`timeout` in ms, -1: as long as it takes); how many there are. */
export function waitForEvents(epoll: number, timeout: number): number {
  return outcome(libc.epoll_wait(epoll, events, EVENTS_SIZE, timeout));
}

/** The descriptor and the mask of an event of the last wait. */
export function eventAt(index: number): LuaMultiReturn<[number, number]> {
  const event = events[index];
  return $multi(event.fd, event.events);
}

/** Milliseconds of the monotonic clock. */
export function now(): number {
  libc.clock_gettime(CLOCK_MONOTONIC, timespec);
  return tonumber(timespec.seconds)! * 1000 + math.floor(tonumber(timespec.nanoseconds)! / 1e6);
}

/** Seconds since the epoch, and nanoseconds. */
export function wallClock(): LuaMultiReturn<[number, number]> {
  libc.clock_gettime(CLOCK_REALTIME, timespec);
  return $multi(tonumber(timespec.seconds)!, tonumber(timespec.nanoseconds)!);
}
