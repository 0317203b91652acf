import { readFileSync } from "node:fs";

/** The counters of one interface, seen from inside. */
export interface NetworkStats {
  /** "eth0" */
  name: string;
  received: Traffic;
  sent: Traffic;
}

export interface Traffic {
  bytes: bigint;
  packets: bigint;
  errors: bigint;
  /** Packets. */
  dropped: bigint;
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
    const traffic = (column: number): Traffic => {
      const [bytes, packets, errors, dropped] = counters.slice(column, column + 4).map(BigInt);
      return { bytes: bytes ?? 0n, packets: packets ?? 0n, errors: errors ?? 0n, dropped: dropped ?? 0n };
    };
    interfaces.push({
      name: line.slice(0, colon).trim(),
      received: traffic(0),
      sent: traffic(8),
    });
  }
  return interfaces;
}
