import { readFile } from "node:fs/promises";

/** Something that is mounted, as /proc/self/mountinfo tells. */
export interface MountPoint {
  target: string;
  type: string;
  /** As who has mounted it named it; a loop device by its own name. */
  source: string;
}

/** What is mounted below a directory, in the order in which it was mounted. @param directory absolute, without links in it */
export async function mountsBelow(directory: string): Promise<MountPoint[]> {
  const lines = (await readFile("/proc/self/mountinfo", "utf8")).split("\n");
  // Most are of others: looked at no further than needed.
  const shown = escaped(`${directory}/`);
  return lines.filter((line) => line.includes(` ${shown}`)).flatMap((line) => parse(line, `${directory}/`));
}

/** Whether what is mounted at a path is seen by other mounts, too (mount_namespaces(7)). @param path absolute, without links */
export async function isSharedMount(path: string): Promise<boolean> {
  let longest = "";
  let isShared = false;
  for (const line of (await readFile("/proc/self/mountinfo", "utf8")).split("\n")) {
    const fields = line.split(" ");
    const target = unescaped(fields[4] ?? "");
    // Of several at the same place the last one is seen.
    if (target.length < longest.length || !`${path}/`.startsWith(target === "/" ? "/" : `${target}/`)) continue;
    longest = target;
    isShared = fields.slice(6, fields.indexOf("-", 6)).some((field) => field.startsWith("shared:"));
  }
  return isShared;
}

function parse(line: string, prefix: string): MountPoint[] {
  const fields = line.split(" ");
  const target = unescaped(fields[4]!);
  const end = fields.indexOf("-", 6);
  if (end === -1 || !target.startsWith(prefix)) return [];
  return [{ target, type: fields[end + 1]!, source: unescaped(fields[end + 2] ?? "") }];
}

/** As the kernel writes what would be taken for the end of a field. */
function escaped(path: string): string {
  return path.replace(/[ \t\n\\]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`);
}

function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
