import { renameSync, unlinkSync, writeFileSync } from "node:fs";

/**
 * Writes a small file so that a reader, also one after a kill of this process, sees the old content or the new, never half.
 * Only this user may read it.
 * Not synced to the disk: the state directory is meant not to outlive a reboot.
 * @throws a system error; nothing is left then
 */
export function writeAtomically(path: string, content: string): void {
  const temporary = `${path}.tmp`;
  try {
    writeFileSync(temporary, content, { mode: 0o600 });
    renameSync(temporary, path);
  } catch (error) {
    try {
      unlinkSync(temporary);
    } catch {
      // The first error is the one that says what happened.
    }
    throw error;
  }
}
