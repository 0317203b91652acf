/** Waiting for descriptors, and the time. */
import type { CData, CIntArray } from "ffi";
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

interface Libc {
  epoll_create1(this: void, flags: number): number;
  epoll_ctl(this: void, epoll: number, operation: number, fd: number, event: CData | undefined): number;
  epoll_wait(this: void, epoll: number, events: CData, size: number, timeout: number): number;
  clock_gettime(this: void, clock: number, time: CData): number;
  gmtime_r(this: void, time: CData, fields: number): number;
  strftime(this: void, target: number, size: number, format: string, fields: number): number;
  snprintf(this: void, target: number, size: number, format: string, nanosecond: number, words: string): number;
}

const eventLayout = ffi.arch === "x64" ? "packed" : "aligned(8)";

const libc = declare(`
struct epoll_event { uint32_t events; int32_t fd; int32_t unused; } __attribute__((${eventLayout}));
struct timespec { uint32_t seconds, more_seconds, nanoseconds, nothing; };
int epoll_create1(int);
int epoll_ctl(int, int, int, struct epoll_event *);
int epoll_wait(int, struct epoll_event *, int, int);
int clock_gettime(int, struct timespec *);
int gmtime_r(const struct timespec *, uintptr_t);
int strftime(uintptr_t, size_t, const char *, uintptr_t);
int snprintf(uintptr_t, size_t, const char *, int, const char *);
`) as Libc;

const EVENTS_SIZE = 8;
const events = ffi.new("struct epoll_event[?]", EVENTS_SIZE);
// An event that is looked at as a struct would be garbage.
const eventFields = ffi.cast("int32_t *", events) as CIntArray;
const EVENT_FIELDS = ffi.sizeof("struct epoll_event") / 4;
const FD_FIELD = ffi.offsetof("struct epoll_event", "fd") / 4;
const interest = ffi.new("struct epoll_event") as EpollEvent;
// In halves, the low one first: reading 64 bits at once would leave garbage each time.
const timespec = ffi.new("struct timespec") as CData & { seconds: number; more_seconds: number; nanoseconds: number };

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
  return $multi(eventFields[index * EVENT_FIELDS + FD_FIELD], eventFields[index * EVENT_FIELDS]);
}

/** Milliseconds of the monotonic clock. */
export function now(): number {
  libc.clock_gettime(CLOCK_MONOTONIC, timespec);
  return seconds() * 1000 + math.floor(timespec.nanoseconds / 1e6);
}

/** Seconds since the epoch, and nanoseconds. */
export function wallClock(): LuaMultiReturn<[number, number]> {
  libc.clock_gettime(CLOCK_REALTIME, timespec);
  return $multi(seconds(), timespec.nanoseconds);
}

function seconds(): number {
  return timespec.seconds + timespec.more_seconds * 2 ** 32;
}

/** Bytes that {@link writeTime} may write to. */
export const TIME_ROOM = 256;
const SECOND_LENGTH = 19;
const FIELDS_AT = 128;

let writtenSecond = -1;

/**
 * Writes the wall clock as `2016-10-06T00:17:09.669794202Z`, and words behind it, at an address that is always the same and that nobody
 * else writes to. Makes no garbage.
 *
 * @returns how long that is
 */
export function writeTime(target: number, words: string): number {
  libc.clock_gettime(CLOCK_REALTIME, timespec);
  const second = seconds();
  if (second !== writtenSecond) {
    writtenSecond = second;
    libc.gmtime_r(timespec, target + FIELDS_AT);
    libc.strftime(target, FIELDS_AT, "%Y-%m-%dT%H:%M:%S", target + FIELDS_AT);
  }
  const room = FIELDS_AT - SECOND_LENGTH;
  return SECOND_LENGTH + libc.snprintf(target + SECOND_LENGTH, room, ".%09dZ%s", timespec.nanoseconds, words);
}
