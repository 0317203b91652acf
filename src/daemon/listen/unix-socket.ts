import { lchownSync, lstatSync, unlinkSync } from "node:fs";
import { connect, type Server } from "node:net";
import { dirname } from "node:path";
import { makeTrustedDirectory } from "../../system/linux/closed-directory.js";
import { groupId } from "../../system/linux/group.js";
import { errorText, hasCode } from "../../system/linux/libc.js";
import { listening } from "./listening.js";

/** Who connects is root on this machine: the owner and a group, nobody else. This leaves mode 0660 of what a socket is made with, 0777. */
const UMASK = 0o117;
/** Everybody may go through the directories of a socket: its own mode says who may connect. */
const DIRECTORY_MODE = 0o711;

/**
 * Binds the server to a path. A socket file that nobody listens on any more is replaced.
 * @param group name or id of the group that may connect; the daemon's own without it
 * @throws Error when somebody answers there already, when somebody else than root could put another socket in its place, or for an unknown
 *   group
 */
export async function listenUnix(server: Server, path: string, group: string | undefined): Promise<void> {
  const gid = group === undefined ? undefined : parseGroup(group);
  try {
    await makeTrustedDirectory(dirname(path), DIRECTORY_MODE, { mayBeShared: true });
  } catch (error) {
    throw new Error(`listen unix ${path}: ${errorText(error)}`);
  }
  await clearSocket(path);
  // The mode of a socket file counts from its first moment, and is not changed any more. The file is made before this call returns.
  const umask = process.umask(UMASK);
  const bound = listening(server, `unix ${path}`, { path });
  process.umask(umask);
  await bound;
  if (gid !== undefined) lchownSync(path, -1, gid);
}

function parseGroup(group: string): number {
  const gid = groupId(group) ?? (/^\d{1,10}$/.test(group) ? Number(group) : undefined);
  if (gid === undefined || gid >= 2 ** 32 - 1) throw new Error(`--group ${group}: there is no such group`);
  return gid;
}

/** Removes the socket of a daemon that is gone. Throws Error when somebody answers on it, or when it is no socket. */
async function clearSocket(path: string): Promise<void> {
  const info = lstatSync(path, { throwIfNoEntry: false });
  if (info === undefined) return;
  if (!info.isSocket()) throw new Error(`listen unix ${path}: there is something else than a socket`);
  const answers = await new Promise<boolean>((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error) => resolve(!hasCode(error, "ECONNREFUSED") && !hasCode(error, "ENOENT")));
  });
  if (answers) throw new Error(`listen unix ${path}: address already in use: another daemon answers there`);
  try {
    unlinkSync(path);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
}
