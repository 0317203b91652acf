/**
 * containerd-netd <run directory>: what of containers' networks must go on while the daemon is away. It holds published ports and answers
 * names; see docs/netd.md.
 */
import { NETD_CHANNEL_VARIABLE } from "../contract/netd/messages";
import { openLoop, runUntil } from "../shim/loop";
import * as files from "../shim/syscalls/files";
import { releaseText } from "../shim/syscalls/memory";
import * as processes from "../shim/syscalls/processes";
import { isOver, listenForDaemons, serveDaemon } from "./daemon-channel";
import { guardContainers } from "./egress";
import { logError, openLog } from "./log";
import { openRandom } from "./random";
import { raiseDescriptorLimit } from "./syscalls/namespaces";

function run(directory: string): void {
  processes.resetSignals();
  const channel = tonumber(processes.takeEnvironment(NETD_CHANNEL_VARIABLE)) ?? -1;
  files.closeInherited(channel, -1);
  files.occupyStandardDescriptors();
  openLog(directory);
  processes.setName("containerd-netd");
  processes.leadOwnSession();
  raiseDescriptorLimit();
  openLoop();
  openRandom();
  guardContainers();
  listenForDaemons(directory);
  if (channel >= 0) {
    files.setCloseOnExec(channel);
    serveDaemon(channel);
  }
  // What only the start has needed.
  releaseText();
  while (!isOver()) {
    const [ok, message] = pcall(() => runUntil(isOver));
    // What is wrong with one container's question is no reason to leave the others alone.
    if (!ok) logError(`${message}`);
  }
}

/** The whole program. Whoever loads this file calls it, so that what only loading needed can go. */
export function main(): never {
  const directory = arg[1];
  if (directory === undefined) {
    io.stderr.write("usage: containerd-netd <run directory>\n");
    return processes.exit(2);
  }
  const [ok, message] = pcall(() => run(directory));
  if (!ok) logError(`${message}`);
  return processes.exit(ok ? 0 : 1);
}
