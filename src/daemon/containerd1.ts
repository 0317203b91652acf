import { readdirSync } from "node:fs";

/** What containerd 1.x names its directories after: its plug-ins. */
const PLUGIN = "io.containerd.";

/** @throws Error when a state directory is one of containerd 1.x, which has the same default: neither would leave the other's alone */
export function refuseContainerd1(stateDir: string): void {
  const theirs = readdirSync(stateDir).find((name) => name.startsWith(PLUGIN));
  if (theirs === undefined) return;
  throw new Error(
    `state directory ${stateDir} is containerd 1.x's: it has ${theirs}. Give this daemon one of its own, and a socket, ` +
      "with --state-dir DIR --listen unix://DIR/containerd.sock; " +
      `or, if containerd 1.x is gone from this machine, remove ${stateDir}/${PLUGIN}*`,
  );
}
