import type { Bytes, EntryType } from "../../contract/tar/archive-entry.js";
import { ArchiveError } from "../../contract/tar/archive-error.js";
import { attributeArea } from "./erofs/format.js";

const CAPABILITY = "security.capability";
const ACCESS_LIST = "system.posix_acl_access";
const DEFAULT_LIST = "system.posix_acl_default";
const KEPT = new Set([CAPABILITY, ACCESS_LIST, DEFAULT_LIST]);

/** In bytes: a name that is longer can't be asked for. */
const LONGEST_NAME = 255;

/** Whether a layer has an extended attribute: others are the machine's, or overlayfs', which would follow a redirect in them. */
export function isKept(name: Bytes): boolean {
  return KEPT.has(name) || (name.length > 5 && name.startsWith("user.") && !name.startsWith("user.overlay."));
}

/**
 * The attributes of a layer's file, as they are written. What the kernel would not have set on a file of that type is left out: it would be
 * listed and could not be read, and overlayfs copies no such file up.
 * @param type of the archive's entry; none for a file that the kernel has let have them
 * @throws ArchiveError for what the kernel would not have taken for any file
 */
export function areaOfKept(attributes: ReadonlyMap<Bytes, Buffer>, mode: number, type?: EntryType): Buffer {
  const kept = new Map([...attributes].filter(([name]) => isKept(name) && (type === undefined || canHave(type, name))));
  for (const [name, value] of kept) {
    if (name.includes("\0")) throw new ArchiveError("a zero byte in the name of an attribute");
    if (name.length > LONGEST_NAME)
      throw new ArchiveError(`the attribute ${JSON.stringify(name.slice(0, 100))} has a name of ${name.length} bytes`);
    if (name === CAPABILITY && !isCapability(value)) throw new ArchiveError(`${name} is no set of capabilities`);
    if ((name === ACCESS_LIST || name === DEFAULT_LIST) && !isAccessList(value))
      throw new ArchiveError(`${name} is no access list`);
    if (name === ACCESS_LIST) kept.set(name, withMode(value, mode));
  }
  try {
    return attributeArea(kept);
  } catch (error) {
    if (error instanceof RangeError) throw new ArchiveError(error.message);
    throw error;
  }
}

function canHave(type: EntryType, name: Bytes): boolean {
  if (name === ACCESS_LIST) return type !== "symlink";
  if (name === DEFAULT_LIST) return type === "directory";
  return name === CAPABILITY || type === "file" || type === "directory";
}

/** By the second version of the format, or the third, which says whose user namespace they are of. */
function isCapability(value: Buffer): boolean {
  return [20, 24].includes(value.length) && value[3] === (value.length === 20 ? 2 : 3);
}

/** Tags of the entries of an access list, in the order that they must have. */
const OWNER = 0x01;
const USER = 0x02;
const OWNING_GROUP = 0x04;
const GROUP = 0x08;
const MASK = 0x10;
const OTHERS = 0x20;
/** Each tag as a letter, for the order of all. */
const LETTERS = new Map([OWNER, USER, OWNING_GROUP, GROUP, MASK, OTHERS].map((tag, i) => [tag, "ouUgmx"[i]!]));
/** There are none, or these; a mask where others than the owners are named. */
const ORDER = /^(?:o(?:Um?|u+Ug*m|Ug+m)x)?$/;

/** One that is none for the kernel lets nobody to the file, or can't be copied. */
function isAccessList(value: Buffer): boolean {
  if (value.length < 4 || (value.length - 4) % 8 !== 0 || value.readUInt32LE(0) !== 2) return false;
  let order = "";
  for (let at = 4; at < value.length; at += 8) {
    const tag = value.readUInt16LE(at);
    if (value.readUInt16LE(at + 2) > 7) return false;
    if ((tag === USER || tag === GROUP) && value.readUInt32LE(at + 4) === 0xffff_ffff) return false;
    order += LETTERS.get(tag) ?? "?";
  }
  return ORDER.test(order);
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
