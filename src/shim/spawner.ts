/**
 * Forks shims on behalf of a daemon: one that is forked from a shim that is loaded already costs neither an exec nor the loading, and
 * shares with all others what it does not change. docs/shim.md has the protocol.
 */
import { SPAWNER_FLAG, type SpawnerMessage } from "../contract/shim/spawner";
import { loadJson } from "./process-state";
import { settleHeap } from "./shared-heap";
import * as files from "./syscalls/files";
import { bindFunctions, errorText } from "./syscalls/libc";
import * as memory from "./syscalls/memory";
import * as processes from "./syscalls/processes";
import * as sockets from "./syscalls/sockets";
import * as waiting from "./syscalls/waiting";

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

/**
 * After so many its garbage is collected even if it is little: each leaves a few strings, and the shim of which one string is too many for
 * LuaJIT's table of them would have to write to every page with a string on it.
 */
const MOST_LAUNCHES = 150;
/** Fields of a packet end with NUL: none of them can hold one. */
const FIELD = "([^%z]*)%z";

/**
 * Serves a daemon for as long as it is there.
 *
 * @returns in a forked child: what it is to be the shim of; in the spawner itself: undefined, once the daemon has gone
 */
export function spawnShims(socket: number): Launch | undefined {
  processes.setName("shim-spawner");
  processes.leadOwnSession();
  processes.blockSignals();
  files.setBlocking(socket);
  // Loaded here, so that no shim has to. One that can't load it says so.
  pcall(loadJson);
  // Without its own command line a shim can't be found by a later daemon: then each is better executed.
  const result = processes.setCommandLine(["containerd-shim", SPAWNER_FLAG]);
  if (result < 0) return error(`command line: ${errorText(result)}`, 0);
  const signals = processes.childSignals();
  const epoll = waiting.createEpoll();
  if (signals < 0 || epoll < 0) return error("no descriptors", 0);
  waiting.watch(epoll, signals, waiting.EPOLLIN);
  waiting.watch(epoll, socket, waiting.EPOLLIN);
  memory.findText();
  bindFunctions();
  // That was for this process.
  processes.takeEnvironment("LD_BIND_NOW");
  settleHeap();
  const loaded = collectgarbage("count");
  let launches = 0;
  tell(socket, "ready");
  while (true) {
    if (collectgarbage("count") > 2 * loaded || launches === MOST_LAUNCHES) {
      settleHeap();
      launches = 0;
    }
    const count = waiting.waitForEvents(epoll, -1);
    for (const index of $range(0, count - 1)) {
      const [fd, mask] = waiting.eventAt(index);
      if (fd === signals) {
        processes.takeChildSignal(signals);
        reapShims(socket);
      } else {
        // Nobody is left to ask for what may still be in there: it has been given up.
        if ((mask & waiting.EPOLLHUP) !== 0) return undefined;
        const [packet, channel, runtimeCopy] = sockets.receivePacket(socket);
        if (packet === "") return undefined;
        const launch = handle(socket, packet, channel, runtimeCopy);
        if (launch !== undefined) return launch;
        launches++;
      }
    }
  }
}

function tell(socket: number, message: SpawnerMessage): void {
  sockets.sendBlocking(socket, message);
}

function reapShims(socket: number): void {
  while (true) {
    const pid = processes.nextDead();
    if (pid === 0) return;
    const status = processes.reap(pid);
    tell(socket, `exited ${pid} ${status}`);
  }
}

/** One request; answers in the forked child what it is to do. */
function handle(socket: number, packet: string, channel: number, runtimeCopy: number): Launch | undefined {
  const [directory, id, bundle, runtime, environment] = string.match(
    packet,
    `^launch%z${FIELD}${FIELD}${FIELD}${FIELD}(.*)$`,
  );
  const pid = processes.fork();
  if (pid !== 0) {
    files.close(channel);
    if (runtimeCopy >= 0) files.close(runtimeCopy);
    tell(socket, pid > 0 ? `launched ${pid}` : `failed ${errorText(pid)}`);
    return undefined;
  }
  processes.leadOwnSession();
  const result = files.chdir(directory);
  if (result < 0) return error(`chdir ${directory}: ${errorText(result)}`, 0);
  for (const [name, value] of string.gmatch(environment, "([^%z=]+)=([^%z]*)%z")) processes.setEnvironment(name, value);
  processes.setCommandLine(["containerd-shim", id, bundle, runtime]);
  return { directory, args: [id, bundle, runtime], channel, runtimeCopy };
}
