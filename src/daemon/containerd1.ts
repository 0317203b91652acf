import { directoryOfContainerd1, PLUGIN } from "../core/tasks/state-directory/containerd1.js";

/** @throws Error when a state directory is one of containerd 1.x, which has the same default: neither would leave the other's alone */
export function refuseContainerd1(stateDir: string): void {
  const theirs = directoryOfContainerd1(stateDir);
  if (theirs === undefined) return;
  throw new Error(
    `state directory ${stateDir} is containerd 1.x's: it has ${theirs}. Give this daemon one of its own, and a socket, ` +
      "with --state-dir DIR --listen unix://DIR/containerd.sock; " +
      `or, if containerd 1.x is gone from this machine, remove ${stateDir}/${PLUGIN}*`,
  );
}
