import { readFileInRootfs } from "../bundle/rootfs-file.js";
import { type Check, type Checks, checkOptions, listOf, number, wrong } from "./option-checks.js";

/** A user by numbers. */
export interface UserIds {
  /** Default: 0. */
  uid?: number | undefined;
  /** Default: 0. */
  gid?: number | undefined;
  additionalGids?: readonly number[] | undefined;
}

/**
 * Whom a process runs as: numbers; or as Docker has it, "nobody", "1000", "nobody:nogroup", "1000:1000", or the uid alone. Names, and the
 * groups of a user who is given without one, are looked up in the root file system's /etc/passwd and /etc/group; the group is 0 when
 * /etc/passwd does not have the user.
 */
export type User = UserIds | string | number;

/** The largest id; the one after it means "leave it as it is" to the kernel. */
const MAX_ID = 0xfffffffe;

/** Bytes of /etc/passwd and /etc/group. */
const MAX_FILE_SIZE = 1 << 20;

const idCheck = number(`a user or group id (0 – ${MAX_ID})`, isId);

const userIdsChecks: Checks<UserIds> = {
  uid: idCheck,
  gid: idCheck,
  additionalGids: listOf(idCheck, "a list of group ids"),
};

const FORMS = 'a name, "name:group", "uid:gid", a uid, or { uid, gid, additionalGids }';

export const userCheck: Check = (value, name) => {
  if (typeof value === "number") idCheck(value, name);
  else if (typeof value === "object" && value !== null) checkOptions(value, userIdsChecks, name);
  // Neither has a character that /etc/passwd has a meaning for.
  else if (typeof value !== "string" || !/^[^:\s\0]+(:[^:\s\0]+)?$/.test(value)) throw wrong(name, FORMS, value);
};

/** Whether the root file system's files are needed to know the ids. */
export function isLookedUp(user: User | undefined): boolean {
  return typeof user === "number" || (typeof user === "string" && !/^\d+:\d+$/.test(user));
}

/**
 * The ids of a user.
 *
 * @throws TypeError for one who is not in the root file system's files, Error when these cannot be read
 */
export function userIds(user: User, rootfs: string): { uid: number; gid: number; additionalGids?: number[] } {
  if (typeof user === "object") {
    const { uid = 0, gid = 0, additionalGids } = user;
    return { uid, gid, ...(additionalGids && { additionalGids: [...additionalGids] }) };
  }
  const [who, group] = String(user).split(":") as [string, string?];
  const number = toId(who);
  const lookUp = number === undefined || group === undefined;
  const entry = lookUp ? findUser(rootfs, who, number) : undefined;
  const uid = number ?? entry?.uid;
  if (uid === undefined) throw unknown(user, `there is no user "${who}" in /etc/passwd of ${rootfs}`);
  if (group !== undefined) return { uid, gid: toId(group) ?? findGroup(rootfs, user, group) };
  const additionalGids = entry ? groupsOf(rootfs, entry.name, entry.gid) : [];
  return { uid, gid: entry?.gid ?? 0, ...(additionalGids.length > 0 && { additionalGids }) };
}

function unknown(user: User, reason: string): TypeError {
  return new TypeError(`user: ${reason}; ${JSON.stringify(user)} must be ${FORMS}`);
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
}

function findUser(rootfs: string, who: string, number: number | undefined): PasswdEntry | undefined {
  for (const [name, , uid, gid] of lines(rootfs, "/etc/passwd")) {
    const entry = { name: name!, uid: toId(uid), gid: toId(gid) };
    if (entry.uid === undefined || entry.gid === undefined) continue;
    // A name of digits is a number, here as for Docker.
    if (number === undefined ? name === who : entry.uid === number) return entry as PasswdEntry;
  }
  return undefined;
}

function findGroup(rootfs: string, user: User, group: string): number {
  for (const [name, , gid] of lines(rootfs, "/etc/group")) {
    const id = toId(gid);
    if (name === group && id !== undefined) return id;
  }
  throw unknown(user, `there is no group "${group}" in /etc/group of ${rootfs}`);
}

function groupsOf(rootfs: string, user: string, primary: number): number[] {
  const gids = new Set<number>();
  for (const [, , gid, members = ""] of lines(rootfs, "/etc/group")) {
    const id = toId(gid);
    if (id !== undefined && id !== primary && members.split(",").includes(user)) gids.add(id);
  }
  return [...gids];
}

/** The fields of each line; none when there is no such file. */
function lines(rootfs: string, path: string): string[][] {
  const content = readFileInRootfs(rootfs, path, MAX_FILE_SIZE) ?? "";
  return content.split("\n").map((line) => line.trim().split(":"));
}

function toId(digits = ""): number | undefined {
  return /^\d{1,10}$/.test(digits) && isId(Number(digits)) ? Number(digits) : undefined;
}

function isId(id: number): boolean {
  return Number.isInteger(id) && id >= 0 && id <= MAX_ID;
}
