/** The start channel between our daemon and our shim; docs/shim.md has the protocol. */
import { CREATED_FILE } from "../contract/shim/process-directory";
import {
  CHANNEL_VARIABLE,
  type DaemonMessage,
  type ExecFifoAccess,
  type ShimMessage,
} from "../contract/shim/start-channel";
import type { ExecFifo } from "./exec-fifo";
import { close, watch } from "./loop";
import * as files from "./syscalls/files";
import { errorText } from "./syscalls/libc";
import * as processes from "./syscalls/processes";
import * as sockets from "./syscalls/sockets";
import * as waiting from "./syscalls/waiting";

/** Our end of the channel. */
export interface StartChannel {
  fd: number;
  /** The daemon has said `start`. */
  startRequested: boolean;
  /** Named in that word: the way to start without the runtime. */
  execFifo: ExecFifo | undefined;
  /** Somebody was told of the created container: it is not undone when the daemon dies, a later one starts it. */
  kept: boolean;
  /** The daemon has called the start off. */
  cancelled: boolean;
  /** The daemon has closed its end, or is dead. */
  gone: boolean;
}

/** The descriptor that the environment names, hidden from the children; undefined when there is no channel. */
export function takeChannelDescriptor(): number | undefined {
  const value = processes.takeEnvironment(CHANNEL_VARIABLE);
  return value === undefined
    ? undefined
    : (tonumber(value) ?? error(`${CHANNEL_VARIABLE}=${value}: not a descriptor`, 0));
}

/** Listens at the channel. Throws a message. */
export function openStartChannel(fd: number): StartChannel {
  const channel: StartChannel = {
    ...{ fd, startRequested: false, execFifo: undefined },
    ...{ kept: false, cancelled: false, gone: false },
  };
  let result = files.setCloseOnExec(fd);
  if (result >= 0) result = watch(fd, waiting.EPOLLIN, () => receive(channel));
  return result < 0 ? error(`${CHANNEL_VARIABLE}=${fd}: ${errorText(result)}`, 0) : channel;
}

function receive(channel: StartChannel): void {
  const message = sockets.receive(channel.fd) as DaemonMessage | "" | undefined;
  if (message === "") {
    // It may have died between the mark and the word.
    channel.kept = channel.kept || files.exists(CREATED_FILE);
    closeStartChannel(channel);
  } else if (message === "cancel") channel.cancelled = true;
  else if (message === "keep") channel.kept = true;
  else if (message !== undefined) {
    const [word, access, path] = string.match(message, "^(start) ?(%a*) ?(.*)$");
    if (word === undefined) return;
    channel.startRequested = true;
    if (path !== "") channel.execFifo = { access: access as ExecFifoAccess, path };
  }
}

/** Sends a message; whether it could be sent. */
export function send(channel: StartChannel, message: ShimMessage): boolean {
  return !channel.gone && sockets.send(channel.fd, message) >= 0;
}

/** Closes our end. */
export function closeStartChannel(channel: StartChannel): void {
  channel.gone = true;
  close(channel.fd);
  channel.fd = -1;
}
