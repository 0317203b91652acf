import { resolve } from "node:path";

/** Where a daemon listens. */
export type Address =
  | {
      kind: "unix";
      /** Absolute. */
      path: string;
      /** As it is shown to people: `unix:///run/x.sock`. */
      text: string;
    }
  | { kind: "tcp"; host: string; port: number; text: string };

/** Where the daemon listens when nothing else is said. */
export const defaultAddress = "unix:///run/containerd/containerd.sock";

/**
 * Reads `unix:///path`, `tcp://host:port` or the bare path of a socket.
 *
 * @throws TypeError that quotes the text.
 */
export function parseAddress(text: string): Address {
  if (text.startsWith("unix://") && text.length > "unix://".length) return unixAddress(text.slice("unix://".length));
  if (/^\.{0,2}\//.test(text)) return unixAddress(text);
  const tcp = /^tcp:\/\/(?:\[([^\]]+)\]|([^:/]+)):(\d{1,5})$/.exec(text);
  const port = Number(tcp?.[3]);
  if (tcp && port > 0 && port < 65536) return { kind: "tcp", host: (tcp[1] ?? tcp[2])!, port, text };
  throw new TypeError(`bad address "${text}", expected proto://address: unix:///path/to.sock or tcp://host:port`);
}

function unixAddress(given: string): Address {
  const path = resolve(given);
  return { kind: "unix", path, text: `unix://${path}` };
}
