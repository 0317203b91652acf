import type { EgressResponse } from "../../proto/containerdts/engine/v1/networks.js";
import { toDate } from "../timestamp.js";

/** Something that a container with `egress` has tried to reach. */
export interface EgressAttempt {
  /** The last time. */
  time: Date;
  /** A name that was asked for; "" of an address. */
  name: string;
  /** An address that was refused; "" of a name. */
  address: string;
  /** 0 of a name, and of a protocol that has none. */
  port: number;
  /** `tcp`, `udp`, `icmp`, …; "" of a name. */
  protocol: string;
  /** Whether the name may be asked for. */
  allowed: boolean;
  /** How many questions, or packets: a connection that is refused is often tried again by the kernel or the program. */
  count: number;
}

export interface EgressReport {
  attempts: EgressAttempt[];
  /** How many questions and packets are in none of them: 1,000 addresses and 100 names are kept, addresses for an hour. */
  dropped: number;
}

export function egressReport({ attempts, dropped }: EgressResponse): EgressReport {
  return {
    attempts: attempts.map(({ time, count, ...attempt }) => ({
      ...attempt,
      time: toDate(time ?? { seconds: 0n, nanos: 0 }),
      count: Number(count),
    })),
    dropped: Number(dropped),
  };
}
