import { readFileSync } from "node:fs";

/** The counters of one interface, seen from inside; named as in the wire contract, mixed case included. */
export interface NetworkStats {
  /** "eth0" */
  name: string;
  rx_bytes: bigint;
  rx_Packets: bigint;
  Rx_errors: bigint;
  Rx_dropped: bigint;
  Tx_bytes: bigint;
  Tx_packets: bigint;
  Tx_errors: bigint;
  Tx_dropped: bigint;
}

/**
 * The interfaces of a process's network namespace. Throws ENOENT (gone) or EINVAL (a zombie: it has no namespace any more).
 *
 * Without `lo`: the original's library lists the interfaces that were set up for the container, and whoever sums the list up wants
 * the traffic that left it. A process in the host's namespace has the host's interfaces.
 */
export function readNetworkStats(pid: number): NetworkStats[] {
  return parseNetDev(readFileSync(`/proc/${pid}/net/dev`, "utf8")).filter(({ name }) => name !== "lo");
}

/** Reads the text of a /proc/<pid>/net/dev: two lines of heading, then 8 columns received and 8 sent. */
export function parseNetDev(text: string): NetworkStats[] {
  const interfaces: NetworkStats[] = [];
  for (const line of text.split("\n").slice(2)) {
    // The last colon: an alias ("eth0:1") has one in its name. Old kernels leave no space behind it.
    const colon = line.lastIndexOf(":");
    if (colon < 0) continue;
    const counters = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/);
    const counter = (column: number) => BigInt(counters[column] ?? 0);
    interfaces.push({
      name: line.slice(0, colon).trim(),
      rx_bytes: counter(0),
      rx_Packets: counter(1),
      Rx_errors: counter(2),
      Rx_dropped: counter(3),
      Tx_bytes: counter(8),
      Tx_packets: counter(9),
      Tx_errors: counter(10),
      Tx_dropped: counter(11),
    });
  }
  return interfaces;
}
