/**
 * Forks shims on behalf of a daemon: one that is forked from a shim that is loaded already costs neither an exec nor the loading, and
 * shares with all others what it does not change. docs/shim.md has the protocol.
 */
import { SPAWNER_FLAG, type SpawnerMessage } from "../contract/shim/spawner";
import { loadJson } from "./process-state";
import { settleHeap } from "./shared-heap";
import * as sys from "./syscalls";

/** What a daemon wants a shim for. */
export interface Launch {
  /** The process directory. */
  readonly directory: string;
  /** The shim's command line: container, bundle, runtime. */
  readonly args: readonly [string, string, string];
  /** The start channel. */
  readonly channel: number;
  /** A copy of the runtime's program, to be executed in its place; -1: none. */
  readonly runtimeCopy: number;
}

/** Fields of a packet end with NUL: none of them can hold one. */
const field = "([^%z]*)%z";

/**
 * Serves a daemon for as long as it is there.
 *
 * @returns in a forked child: what it is to be the shim of; in the spawner itself: undefined, once the daemon has gone
 */
export function spawnShims(socket: number): Launch | undefined {
  sys.setName("shim-spawner");
  sys.leadOwnSession();
  sys.blockSignals();
  sys.setBlocking(socket);
  // Loaded here, so that no shim has to. One that can't load it says so.
  pcall(loadJson);
  // Without its own command line a shim can't be found by a later daemon: then each is better executed.
  const result = sys.setCommandLine(["containerd-shim", SPAWNER_FLAG]);
  if (result < 0) return error(`command line: ${sys.errorText(result)}`, 0);
  const signals = sys.childSignals();
  const epoll = sys.createEpoll();
  if (signals < 0 || epoll < 0) return error("no descriptors", 0);
  sys.watch(epoll, signals, sys.EPOLLIN);
  sys.watch(epoll, socket, sys.EPOLLIN);
  sys.findText();
  sys.bindFunctions();
  // That was for this process.
  sys.takeEnvironment("LD_BIND_NOW");
  settleHeap();
  const loaded = collectgarbage("count");
  tell(socket, "ready");
  while (true) {
    if (collectgarbage("count") > 2 * loaded) settleHeap();
    const count = sys.waitForEvents(epoll, -1);
    for (const index of $range(0, count - 1)) {
      const [fd, mask] = sys.eventAt(index);
      if (fd === signals) {
        sys.takeChildSignal(signals);
        reapShims(socket);
      } else {
        // Nobody is left to ask for what may still be in there: it has been given up.
        if ((mask & sys.EPOLLHUP) !== 0) return undefined;
        const [packet, channel, runtimeCopy] = sys.receivePacket(socket);
        if (packet === "") return undefined;
        const launch = handle(socket, packet, channel, runtimeCopy);
        if (launch !== undefined) return launch;
      }
    }
  }
}

function tell(socket: number, message: SpawnerMessage): void {
  sys.sendBlocking(socket, message);
}

function reapShims(socket: number): void {
  while (true) {
    const pid = sys.nextDead();
    if (pid === 0) return;
    const status = sys.reap(pid);
    tell(socket, `exited ${pid} ${status}`);
  }
}

/** One request; answers in the forked child what it is to do. */
function handle(socket: number, packet: string, channel: number, runtimeCopy: number): Launch | undefined {
  const [directory, id, bundle, runtime, environment] = string.match(
    packet,
    `^launch%z${field}${field}${field}${field}(.*)$`,
  );
  const pid = sys.fork();
  if (pid !== 0) {
    sys.close(channel);
    if (runtimeCopy >= 0) sys.close(runtimeCopy);
    tell(socket, pid > 0 ? `launched ${pid}` : `failed ${sys.errorText(pid)}`);
    return undefined;
  }
  sys.leadOwnSession();
  const result = sys.chdir(directory);
  if (result < 0) return error(`chdir ${directory}: ${sys.errorText(result)}`, 0);
  for (const [name, value] of string.gmatch(environment, "([^%z=]+)=([^%z]*)%z")) sys.setEnvironment(name, value);
  sys.setCommandLine(["containerd-shim", id, bundle, runtime]);
  return { directory, args: [id, bundle, runtime], channel, runtimeCopy };
}
