/** The start channel between our daemon and our shim; docs/shim.md has the protocol. */
import { close, watch } from "./loop";
import * as sys from "./syscalls";

/** Our end of the channel. */
export interface StartChannel {
  fd: number;
  /** The daemon has said `start`. */
  startRequested: boolean;
  /** The daemon has called the start off. */
  cancelled: boolean;
  /** The daemon has closed its end, or is dead. */
  gone: boolean;
}

/** The channel that the environment names, if any. It is hidden from the children. */
export function openStartChannel(): StartChannel | undefined {
  const name = "CONTAINERD_SHIM_CHANNEL";
  const value = sys.takeEnvironment(name);
  if (value === undefined) return undefined;
  const fd = tonumber(value) ?? -1;
  const channel: StartChannel = { fd, startRequested: false, cancelled: false, gone: false };
  let result = sys.setCloseOnExec(fd);
  if (result >= 0) result = watch(fd, sys.EPOLLIN, () => receive(channel));
  if (result < 0) return error(`${name}=${value}: ${sys.errorText(result)}`, 0);
  return channel;
}

function receive(channel: StartChannel): void {
  const message = sys.receive(channel.fd);
  if (message === "") closeStartChannel(channel);
  else if (message === "start") channel.startRequested = true;
  else if (message === "cancel") channel.cancelled = true;
}

/** Sends a message; whether it could be sent. */
export function send(channel: StartChannel, message: string): boolean {
  return !channel.gone && sys.send(channel.fd, message) >= 0;
}

/** Closes our end. */
export function closeStartChannel(channel: StartChannel): void {
  channel.gone = true;
  close(channel.fd);
  channel.fd = -1;
}
