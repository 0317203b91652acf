import { chmodSync, chownSync, lstatSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";
import { isTrustedOwner, makeTrustedDirectory } from "../system/linux/closed-directory.js";
import { lockDirectory } from "../system/linux/flock.js";
import { errorText } from "../system/linux/libc.js";

/**
 * Makes the state directory if need be, and locks it for this daemon: two on one would each report every exit and remove the other's
 * containers.
 * @throws Error when another daemon has it, or when somebody else than root could have put anything into it: what is in it is run as root
 */
export async function takeStateDirectory(directory: string): Promise<void> {
  try {
    await makeTrustedDirectory(directory, 0o700);
  } catch (error) {
    throw new Error(`state directory ${directory}: ${errorText(error)}`);
  }
  const events = lstatSync(join(directory, "events.log"), { throwIfNoEntry: false });
  if (events !== undefined && !(events.isFile() && isTrustedOwner(events.uid))) {
    throw new Error(`state directory ${directory}: events.log is no file of root's: remove it`);
  }
  if ((await lockDirectory(directory)) === undefined)
    throw new Error(
      `state directory ${directory} is in use by another daemon. Give this one a directory and a socket of its own, ` +
        "with --state-dir DIR --listen unix://DIR/containerd.sock, or end the other",
    );
}

/**
 * Closes the state directory to everybody else. When sockets are in it, as with the default flags, their group can still go through.
 * @param sockets where clients of the group connect to; what is no socket below the directory does not count
 */
export function closeStateDirectory(directory: string, sockets: readonly string[]): void {
  const groups = sockets.filter((path) => isSocketBelow(directory, path)).map((path) => statSync(path).gid);
  const own = process.getegid!();
  if (groups.length > 0) chownSync(directory, -1, groups.find((gid) => gid !== own) ?? own);
  chmodSync(directory, groups.length > 0 ? 0o710 : 0o700);
  chmodSync(join(directory, "events.log"), 0o600);
}

function isSocketBelow(directory: string, path: string): boolean {
  try {
    return statSync(path).isSocket() && realpathSync(path).startsWith(`${realpathSync(directory)}/`);
  } catch {
    return false;
  }
}
