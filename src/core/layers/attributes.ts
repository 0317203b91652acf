import { attributeArea } from "./erofs/format.js";
import type { Bytes } from "./tar/archive-entry.js";
import { ArchiveError } from "./tar/archive-error.js";

const ACCESS_LIST = "system.posix_acl_access";

const KEPT = new Set(["security.capability", ACCESS_LIST, "system.posix_acl_default"]);

/** Whether a layer has an extended attribute: others are the machine's, or overlayfs', which would follow a redirect in them. */
export function isKept(name: Bytes): boolean {
  return KEPT.has(name) || (name.length > 5 && name.startsWith("user.") && !name.startsWith("user.overlay."));
}

/** The extended attributes of a file with a mode that a layer has, as they are written; an ArchiveError for what can't be one. */
export function areaOfKept(attributes: ReadonlyMap<Bytes, Buffer>, mode: number): Buffer {
  const kept = new Map([...attributes].filter(([name]) => isKept(name)));
  for (const [name, value] of kept) {
    if (!name.startsWith("system.")) continue;
    if (!isAccessList(value)) throw new ArchiveError(`${name} is no access list`);
    if (name === ACCESS_LIST) kept.set(name, withMode(value, mode));
  }
  try {
    return attributeArea(kept);
  } catch (error) {
    if (error instanceof RangeError) throw new ArchiveError(error.message);
    throw error;
  }
}

/** Tags of the entries of an access list. */
const OWNER = 0x01;
const USER = 0x02;
const OWNING_GROUP = 0x04;
const GROUP = 0x08;
const MASK = 0x10;
const OTHERS = 0x20;
const TAGS = new Set([OWNER, USER, OWNING_GROUP, GROUP, MASK, OTHERS]);

/** With one that it can't read the kernel lets nobody to the file. */
function isAccessList(value: Buffer): boolean {
  if (value.length < 4 || (value.length - 4) % 8 !== 0 || value.readUInt32LE(0) !== 2) return false;
  for (let at = 4; at < value.length; at += 8) if (!TAGS.has(value.readUInt16LE(at))) return false;
  return true;
}

/** An access list that says what the file's mode says, as chmod leaves it: both are looked at. */
function withMode(list: Buffer, mode: number): Buffer {
  const changed = Buffer.from(list);
  const tags = new Map<number, number>();
  for (let at = 4; at < list.length; at += 8) tags.set(list.readUInt16LE(at), at + 2);
  const set = (tag: number, permissions: number) => {
    const at = tags.get(tag);
    if (at !== undefined) changed.writeUInt16LE(permissions & 7, at);
  };
  set(OWNER, mode >> 6);
  set(tags.has(MASK) ? MASK : OWNING_GROUP, mode >> 3);
  set(OTHERS, mode);
  return changed;
}
