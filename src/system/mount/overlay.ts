import { mountNow } from "./kernel-mount.js";
import type { Mount } from "./mount.js";

/**
 * An index would be lost with a copy of the directories, and tie them to this very file system. What a layer says of where a directory was
 * moved to is not believed; that also turns metacopy off, which one option less says: some clients do not know it.
 */
const OPTIONS = ["index=off", "redirect_dir=nofollow"];

/** An upper directory, and the directory of the same file system that overlayfs works in. */
export interface Upper {
  upper: string;
  work: string;
}

/** Directories as one. @param lower the topmost first; there is one at least, and a second where there is no upper */
export function overlayMount(lower: readonly string[], upper?: Upper): Mount {
  const writable = upper === undefined ? [] : [`workdir=${upper.work}`, `upperdir=${upper.upper}`];
  const options = [...OPTIONS, ...writable, `lowerdir=${lower.join(":")}`];
  return { type: "overlay", source: "overlay", target: "", options };
}

/** One directory. */
export function bindMount(directory: string, access: "ro" | "rw"): Mount {
  return { type: "bind", source: directory, target: "", options: [access, "rbind"] };
}

/** The directories of a mount as above, as far as they can be read: the topmost first. */
export function directoriesOf({ type, source, options }: Mount): string[] {
  if (type === "bind") return [source];
  const value = (name: string) => options.find((option) => option.startsWith(`${name}=`))?.slice(name.length + 1);
  const upper = value("upperdir");
  const lower = value("lowerdir")?.split(":") ?? [];
  return upper === undefined ? lower : [upper, ...lower];
}

/** Where an overlay keeps what is written to it; undefined: nothing can be. */
export function upperOf({ options }: Pick<Mount, "options">): string | undefined {
  return options.find((option) => option.startsWith("upperdir="))?.slice("upperdir=".length);
}

/** In bytes: what the kernel takes of options. */
const LONGEST_OPTIONS = 4095;

/**
 * Mounts an overlay by mount(2), in this process: only for directories of our own on local disks.
 * @returns false, and nothing is mounted, when it has so many that the kernel does not take them in this form
 * @throws a system error that names the target
 */
export function mountOverlayNow({ options }: Mount, target: string): boolean {
  const text = options.join();
  if (Buffer.byteLength(text) > LONGEST_OPTIONS) return false;
  mountNow("overlay", target, "overlay", 0, text);
  return true;
}
