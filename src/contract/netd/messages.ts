/** The packets between a daemon and its netd, each one JSON value; docs/netd.md has the protocol. */

/** The socket in the run directory at which netd listens. */
export const NETD_SOCKET = "netd.sock";
/** In the run directory: JSON lines of netd's own errors. */
export const NETD_LOG = "netd-log.json";
/** The environment variable that names netd's descriptor of the connection with the daemon that has started it. */
export const NETD_CHANNEL_VARIABLE = "CONTAINERD_NETD_CHANNEL";
/** What `begin` answers: a netd that an earlier version of the daemon has left, and that has another, is replaced. */
export const NETD_VERSION = 1;
/** In bytes: no packet is longer. */
export const LONGEST_PACKET = 16_384;

/** A port of the host that nobody else is to take. */
export interface HeldPort {
  readonly protocol: "tcp" | "udp";
  /** IPv4 and IPv6 addresses of the host, `0.0.0.0` and `::` among them. */
  readonly addresses: readonly string[];
  /** 0: one that is free on all of the addresses. */
  readonly port: number;
}

/** A container on a network. */
export interface NamedEndpoint {
  /** The network's id: who is on it finds all others on it. */
  readonly network: string;
  /** What the network is called in `NAME.NETWORK`. */
  readonly networkName: string;
  readonly address?: string;
  readonly address6?: string;
  /** Names, aliases, short id; of an address the first is told. */
  readonly names: readonly string[];
}

/** Whom netd asks for names that it does not know: the host's servers, nobody (there is no outside then), or these addresses. */
export type NameServers = "host" | "none" | readonly string[];

/** A name that a container with `egress` may ask for, and the port that its addresses can be reached at. */
export interface AllowedName {
  /** In lower case, without a dot at its end. */
  readonly name: string;
  /** Whether it stands for all names below it, at any depth, and not for itself. */
  readonly below: boolean;
  /** Of TCP and UDP; 0: all ports. */
  readonly port: number;
}

/** What netd has to know of a container with `egress`. */
export interface NetdEgress {
  /** The daemon's table of family inet in the host's network namespace. */
  readonly table: string;
  /** What the names of the container's sets in it begin with: contract/netd/egress.ts has the rest. */
  readonly prefix: string;
  readonly names: readonly AllowedName[];
  /** The container's own: the host forgets their connections when it ends. */
  readonly addresses: readonly string[];
}

/** A name that a container with `egress` has asked for. Times are in ms since the epoch. */
export interface AskedName {
  readonly name: string;
  readonly allowed: boolean;
  readonly count: number;
  /** Of the last time. */
  readonly time: number;
}

/** What netd tells of a container with `egress`. */
export interface AskedNames {
  readonly asked: readonly AskedName[];
  /** How often names were asked for that are not in the list: it has an end. */
  readonly dropped: number;
}

/** What may change of a container while it is attached. */
export interface Naming {
  readonly endpoints: readonly NamedEndpoint[];
  readonly servers: NameServers;
  /** What it may reach outside; the part of netd that keeps that knows the form. */
  readonly egress?: NetdEgress;
}

/**
 * What a daemon asks for.
 * - `begin`: all that follows, until `end`, is the whole of the state. The file is the host's resolv.conf.
 * - `end`: what was not told since `begin` is dropped.
 * - `attach` comes with one or two descriptors: a network namespace, and a pidfd, at whose end the container is detached.
 * - `forget`: the host's connections that were begun from these addresses are nobody's any more.
 * - `quit`: netd ends, unless it has something.
 */
export type NetdRequest =
  | { readonly do: "begin"; readonly resolvConf: string }
  | { readonly do: "end" }
  | { readonly do: "hold"; readonly ports: readonly HeldPort[] }
  | { readonly do: "release"; readonly ports: readonly HeldPort[] }
  | ({ readonly do: "attach"; readonly key: string } & Naming)
  | ({ readonly do: "update"; readonly key: string } & Naming)
  | { readonly do: "detach"; readonly key: string }
  | { readonly do: "egress"; readonly key: string }
  | { readonly do: "forget"; readonly addresses: readonly string[] }
  | { readonly do: "quit" };

/** What netd answers, once for each request, in their order. */
export interface NetdAnswer {
  /** Why nothing was done. */
  readonly error?: string;
  /** With `error`: the port that somebody else has. */
  readonly taken?: { readonly protocol: "tcp" | "udp"; readonly address: string; readonly port: number };
  /** The numbers of the ports that were asked for. */
  readonly ports?: readonly number[];
  /** {@link NETD_VERSION}, of `begin`. */
  readonly version?: number;
  /** What a container with egress has asked for. */
  readonly egress?: AskedNames;
}
