import { Failure } from "../failure/failure.js";
import type { Holder } from "./addresses.js";

/** A port of the host that is somebody's. */
export interface HostPort {
  protocol: "tcp" | "udp";
  /** "0.0.0.0" and "::" are all of their family. */
  hostAddress: string;
  hostPort: number;
}

/** Which ports of the host are whose. Kept in memory only: the records of containers say it. */
export class Ports {
  readonly #taken = new Map<string, Map<string, Holder>>();

  /** @throws Failure (failed-precondition) that names who has one of them: none is taken then */
  take(ports: readonly HostPort[], holder: Holder): void {
    for (const port of ports) {
      const other = this.holderOf(port);
      if (other === undefined || other.key === holder.key) continue;
      const { protocol, hostAddress, hostPort } = port;
      const place = hostAddress.includes(":") ? `[${hostAddress}]:${hostPort}` : `${hostAddress}:${hostPort}`;
      const why = `port ${place}/${protocol} of the host is taken: ${other.text} has published it`;
      throw new Failure("failed-precondition", "refused", { why });
    }
    for (const port of ports) {
      const key = keyOf(port);
      const addresses = this.#taken.get(key) ?? new Map<string, Holder>();
      this.#taken.set(key, addresses.set(port.hostAddress, holder));
    }
  }

  /** Of those that take it, also by another address that means it, too. */
  holderOf(port: HostPort): Holder | undefined {
    for (const [address, holder] of this.#taken.get(keyOf(port)) ?? [])
      if (meet(address, port.hostAddress)) return holder;
    return undefined;
  }

  release(ports: readonly HostPort[], { key }: Pick<Holder, "key">): void {
    for (const port of ports) {
      const addresses = this.#taken.get(keyOf(port));
      if (addresses?.get(port.hostAddress)?.key === key) addresses.delete(port.hostAddress);
      if (addresses?.size === 0) this.#taken.delete(keyOf(port));
    }
  }

  get count(): number {
    return [...this.#taken.values()].reduce((sum, { size }) => sum + size, 0);
  }
}

const ALL = { 4: "0.0.0.0", 6: "::" } as const;

function meet(a: string, b: string): boolean {
  const family = a.includes(":") ? 6 : 4;
  if (family !== (b.includes(":") ? 6 : 4)) return false;
  return a === b || a === ALL[family] || b === ALL[family];
}

function keyOf({ protocol, hostPort }: HostPort): string {
  return `${protocol} ${hostPort}`;
}
