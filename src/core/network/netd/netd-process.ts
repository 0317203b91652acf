/** The process of a netd: found, started, ended. */
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { NETD_CHANNEL_VARIABLE, NETD_LOG, NETD_SOCKET } from "../../../contract/netd/messages.js";
import { Child, devNull } from "../../../system/linux/child.js";
import { EPOLLIN, epoll } from "../../../system/linux/epoll.js";
import { hasCode } from "../../../system/linux/libc.js";
import { openPidFd, signalPidFd } from "../../../system/linux/pidfd.js";
import { connectSeqPacket, makeSeqPacketPair } from "../../../system/linux/seqpacket.js";
import { peerCredentials } from "../../../system/linux/socket-options.js";
import { environmentStrings, findProgram } from "../../../system/linux/spawn.js";

const INTERPRETER = "luajit";
const SIGKILL = 9;
/** In ms: how long a killed process may take to be gone. */
const END_TIMEOUT = 10_000;

/** A connection with a netd whose process is there. Throws a system error: ENOENT, ECONNREFUSED when there is none. */
export function connectToNetd(directory: string): number {
  // Its path may be longer than a socket's can be.
  const folder = openSync(directory, "r");
  try {
    return connectSeqPacket(`/proc/self/fd/${folder}/${NETD_SOCKET}`);
  } finally {
    closeSync(folder);
  }
}

/** A connection with the one that works in the directory; undefined when there is none. Throws a system error, or what is odd about it. */
export function findNetd(directory: string): number | undefined {
  try {
    const socket = connectToNetd(directory);
    const { uid } = peerCredentials(socket);
    if (uid === process.getuid?.()) return socket;
    closeSync(socket);
    throw new Error(`${join(directory, NETD_SOCKET)} belongs to user ${uid}`);
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ECONNREFUSED")) return undefined;
    throw error;
  }
}

/**
 * Starts one in this process's network namespace. It ends when it can't come up, which its connection tells.
 * @returns our end of the connection
 */
export async function startNetd(program: string, directory: string): Promise<number> {
  const interpreter = findProgram(INTERPRETER);
  if (interpreter === undefined) throw new Error(`${INTERPRETER} is not installed`);
  const [ours, theirs] = makeSeqPacketPair();
  try {
    const { PATH, LD_LIBRARY_PATH, LUA_PATH, LUA_CPATH } = process.env;
    await Child.spawn(interpreter, [INTERPRETER, program, directory], {
      cwd: "/",
      env: environmentStrings({ PATH, LD_LIBRARY_PATH, LUA_PATH, LUA_CPATH, [NETD_CHANNEL_VARIABLE]: "3" }),
      fds: [devNull, devNull, devNull, theirs],
    });
    return ours;
  } catch (error) {
    closeSync(ours);
    throw error;
  } finally {
    closeSync(theirs);
  }
}

/** What the last one that was started has written down first. */
export function complaintOf(directory: string): string | undefined {
  try {
    const [line = ""] = readFileSync(join(directory, NETD_LOG), "utf8").split("\n");
    return line === "" ? undefined : JSON.parse(line).msg;
  } catch {
    // It has not even come as far as to make the file.
    return undefined;
  }
}

/** Kills the one that listens in the directory, and waits for its end: one that stands still. Fine when there is none. */
export async function endNetd(directory: string): Promise<void> {
  let socket: number | undefined;
  let pidFd: number | undefined;
  try {
    socket = connectToNetd(directory);
    const { pid } = peerCredentials(socket);
    pidFd = openPidFd(pid);
    // The connection is with a listener that lives, so it is that one.
    if (readFileSync(`/proc/${pid}/comm`, "utf8") !== "containerd-netd\n") return;
    signalPidFd(pidFd, SIGKILL);
    await ended(pidFd);
  } catch {
    // It has ended.
  } finally {
    for (const fd of [socket, pidFd]) if (fd !== undefined) closeSync(fd);
  }
}

function ended(pidFd: number): Promise<void> {
  return new Promise((resolve) => {
    const over = () => {
      clearTimeout(timeout);
      epoll.remove(pidFd);
      resolve();
    };
    const timeout = setTimeout(over, END_TIMEOUT);
    epoll.add(pidFd, EPOLLIN, over);
  });
}
