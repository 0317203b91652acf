/** A network of containers on this host: a bridge. Its record is kept as JSON: fields may be added, none may change its meaning. */
export interface Network {
  namespace: string;
  /** 64 hexadecimal digits. */
  id: string;
  name: string;
  /** `cni`: one that the system has configured. */
  driver: "bridge" | "cni";
  /** The device on the host; "" of cni. */
  bridge: string;
  /** `10.1.0.0/16` */
  subnet: string;
  /** The bridge's address, without the length of the prefix. */
  gateway: string;
  /** `fd00:1::/64`; "" without IPv6, as is {@link gateway6}. */
  subnet6: string;
  gateway6: string;
  /** Whether nothing but its own containers and the host can be reached. */
  internal: boolean;
  /** Whether its containers can't reach each other. */
  isolated: boolean;
  /** In bytes; 0 is 1500. */
  mtu: number;
  labels: Record<string, string>;
  /** Nanoseconds since the epoch. */
  createdAt: bigint;
}

/** A container's place on a network. */
export interface Endpoint {
  namespace: string;
  /** Its id. */
  container: string;
  network: Network;
  /** The host's end of the pair of devices: `deviceName` of host-networks.ts. */
  device: string;
  /** The container's end: `eth0`. */
  inside: string;
  /** Without the length of the prefix. */
  address: string;
  /** "" without IPv6. */
  address6: string;
  /** `02:42:0a:01:00:02` */
  mac: string;
  /** Whether the container reaches everything else by this one. Of an internal network it never does. */
  isDefaultRoute: boolean;
  /** Whether all that it sends goes to the host first, also what is for others on the network: of a container with `egress`. */
  isClosed?: boolean | undefined;
}

/** A port of the host that leads to a container. */
export interface Publication {
  protocol: "tcp" | "udp";
  /** An address of the host; `0.0.0.0` is all of IPv4, `::` all of IPv6. */
  hostAddress: string;
  hostPort: number;
  /** The container's, of the same family: on the network by which it has its default route, so that answers find their way. */
  address: string;
  containerPort: number;
}

/** Whose rules they are. */
export interface ContainerName {
  namespace: string;
  /** Its id. */
  container: string;
}

/** What the host is to let through for a container. */
export interface ContainerRules {
  endpoints: readonly Endpoint[];
  publications: readonly Publication[];
  /** What it may reach, `NAME:PORT`; undefined: everything. */
  egress?: readonly string[] | undefined;
}
