import type { ContainerName, ContainerRules } from "./network.js";
import type { Element } from "./rules.js";

/** The parts of our tables that are about containers with `egress`, in the syntax of nft. They are the same whoever is there. */
export interface EgressChains {
  /** Sets, maps and chains of the table of family inet. */
  declarations: string;
  /** Rules for what comes from a container and is to leave it: before all others, the established connections included. */
  from: string;
  /** Rules for what is sent to the host itself, by anybody. */
  input: string;
  /** The whole content of our table of family bridge; "" for none. */
  bridge: string;
}

export function egressChains(): EgressChains {
  return { declarations: "", from: "", input: "", bridge: "" };
}

/** What the sets above have for one container. @throws Error when it has `egress`: there are no rules for it yet */
export function egressElements(_container: ContainerName, { egress }: ContainerRules): Element[] {
  if (egress !== undefined) throw new Error("egress by name is not there yet");
  return [];
}
