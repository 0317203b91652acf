import type { AskedNames } from "../../contract/netd/messages.js";
import { listNft } from "../../system/network/nft.js";
import { egressFamilies, egressPrefix, TRIED_SECONDS, triedSet, untoldCounter } from "./egress-rules.js";
import type { ContainerName, Endpoint } from "./network.js";

/** Something that a container with `egress` has tried to reach. */
export interface EgressAttempt {
  /** Of the last time, in ms since the epoch. */
  time: number;
  /** That was asked for; "" of an address. */
  name: string;
  /** That was refused; "" of a name. */
  address: string;
  /** 0 of a name, and of protocols without ports. */
  port: number;
  /** `tcp`, `udp`, `icmp`, …; "" of a name. */
  protocol: string;
  /** Of a name. */
  allowed: boolean;
  /** Questions, or packets: who is refused may try again by itself. */
  count: number;
}

export interface EgressReport {
  /** The last one first. */
  attempts: EgressAttempt[];
  /** How many questions and packets are not in there, because there is no more room for what is new. */
  dropped: number;
}

/** What `nft -j list` says of a set and of a counter, as far as it is used here. */
interface Listed {
  set?: {
    elem?: {
      elem: { val: { concat: [string, string | number, number] }; expires: number; counter: { packets: number } };
    }[];
  };
  counter?: { packets: number };
}

/**
 * What is written down by netd, of names, and by the host's rules, of addresses, for an hour.
 * @throws Error when nft can't be run
 */
export async function readEgress(
  table: string,
  container: ContainerName,
  endpoints: readonly Endpoint[],
  { asked, dropped }: AskedNames,
): Promise<EgressReport> {
  const prefix = egressPrefix(container);
  const sets = egressFamilies(endpoints).map((family) => `list set inet ${table} ${triedSet(prefix, family)}`);
  const answers = (await listNft([...sets, `list counter inet ${table} ${untoldCounter(prefix)}`])) ?? [];
  const listed = answers.flatMap(({ nftables }) => nftables as Listed[]);
  const now = Date.now();
  const addresses = listed
    .flatMap(({ set }) => set?.elem ?? [])
    .map(({ elem: { val, expires, counter } }): EgressAttempt => {
      const [address, protocol, port] = val.concat;
      const time = now - (TRIED_SECONDS - expires) * 1000;
      return { time, name: "", address, port, protocol: String(protocol), allowed: false, count: counter.packets };
    });
  const names = asked.map((one): EgressAttempt => ({ ...one, address: "", port: 0, protocol: "" }));
  const untold = listed.reduce((sum, { counter }) => sum + (counter?.packets ?? 0), 0);
  return { attempts: [...names, ...addresses].sort((a, b) => b.time - a.time), dropped: dropped + untold };
}
