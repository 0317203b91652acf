import { closeSync } from "node:fs";
import { hasCode } from "../../../system/linux/libc.js";
import { openInRootAside } from "../../../system/linux/openat2.js";
import { readRegularFile, UnfitFile } from "../../../system/linux/regular-file.js";
import { onForeignFiles } from "../../files/foreign-files.js";
import { invalidOption } from "./invalid-option.js";

/** Who a process is, as the root file system's /etc/passwd and /etc/group have it. */
export interface ResolvedUser {
  uid: number;
  gid: number;
  /** Its own group is one of them, as with Docker: a program that gives up its own group has the same rights then. */
  additionalGids: readonly number[];
  /** `HOME` */
  home: string;
  /** "" where /etc/passwd has no entry. */
  name: string;
}

/** The largest id; the one after it means "leave it as it is" to the kernel. */
const MAX_ID = 2 ** 32 - 2;
/** In bytes: of /etc/passwd and /etc/group. */
const LARGEST = 1 << 20;
const O_PATH = 0o10000000;

/**
 * Finds out who a user is in a root file system, which others may have shaped: what its files say is only ever about ids in it, and no link
 * leads out of it.
 * @param root a descriptor of its directory
 * @param user `USER[:GROUP]`, names or numbers, as Docker understands them: "" is root; a number need not be in /etc/passwd; with a group
 *   the groups that /etc/group puts a user in do not count
 * @param groupAdd more groups, names or numbers
 * @param where what to call the root file system, also when it does not answer
 * @throws Failure: invalid-argument for a user or group who is not there, and for files that are none; deadline-exceeded; the caller's
 *   reason
 */
export async function resolveUser(
  root: number,
  user: string,
  groupAdd: readonly string[],
  { where = "the root file system", signal }: { where?: string; signal?: AbortSignal | undefined } = {},
): Promise<ResolvedUser> {
  const [who = "", group, ...rest] = user.split(":");
  const isName = (text: string) => !/[\s\0,]/.test(text);
  if (rest.length > 0 || group === "" || ![who, group ?? ""].every(isName))
    throw invalidOption("user", user, "it must be USER or USER:GROUP, names or numbers");
  const read = (path: string) => onForeignFiles(where, (limit) => linesOf(root, path, user, limit), signal);
  const number = idOf(who || "0");
  const entries = (await read("/etc/passwd")).flatMap((line) => passwdEntry(line) ?? []);
  const entry = entries.find((one) => one.name === who || one.uid === number);
  const uid = entry?.uid ?? number;
  if (uid === undefined) throw invalidOption("user", user, `there is no user "${who}" in /etc/passwd of ${where}`);
  const needsGroups = group !== undefined || entry !== undefined || groupAdd.length > 0;
  const groups = needsGroups ? (await read("/etc/group")).flatMap((line) => groupEntry(line) ?? []) : [];
  const gidOf = (option: string, name: string, value: unknown) => {
    const gid = groups.find((one) => one.name === name)?.gid ?? idOf(name);
    if (gid === undefined) throw invalidOption(option, value, `there is no group "${name}" in /etc/group of ${where}`);
    return gid;
  };
  const gid = group === undefined ? (entry?.gid ?? 0) : gidOf("user", group, user);
  const ofUser = groups.filter(({ members }) => group === undefined && entry && members.includes(entry.name));
  const added = groupAdd.map((name, index) => gidOf(`groupAdd[${index}]`, name, name));
  const additionalGids = [...new Set([gid, ...ofUser.map((one) => one.gid), ...added])];
  return { uid, gid, additionalGids, home: entry?.home || "/", name: entry?.name ?? "" };
}

/** The fields of each line; none when there is no such file. */
async function linesOf(root: number, path: string, user: string, signal: AbortSignal): Promise<string[][]> {
  const refuse = (why: string) => invalidOption("user", user, `${path} of the root file system ${why}`);
  let place: number;
  try {
    place = await openInRootAside(root, path, O_PATH);
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR")) return [];
    throw hasCode(error, "ELOOP") ? refuse("is a loop of links") : error;
  }
  try {
    const text = await readRegularFile(`/proc/self/fd/${place}`, LARGEST, signal);
    return text
      .toString("utf8")
      .split("\n")
      .map((line) => line.trim().split(":"));
  } catch (error) {
    throw error instanceof UnfitFile ? refuse(`is no plain file of at most ${LARGEST} bytes`) : error;
  } finally {
    closeSync(place);
  }
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

function passwdEntry([name = "", , uid = "", gid = "", , home = ""]: string[]): PasswdEntry | undefined {
  const ids = { uid: idOf(uid), gid: idOf(gid) };
  if (name === "" || ids.uid === undefined || ids.gid === undefined) return undefined;
  return { name, uid: ids.uid, gid: ids.gid, home: home.includes("\0") ? "" : home };
}

function groupEntry([name = "", , gid = "", members = ""]: string[]) {
  const id = idOf(gid);
  return name === "" || id === undefined ? undefined : { name, gid: id, members: members.split(",") };
}

function idOf(digits: string): number | undefined {
  return /^\d{1,10}$/.test(digits) && Number(digits) <= MAX_ID ? Number(digits) : undefined;
}
