import { rmdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";

/**
 * Removes a folder that has these files in it, or some of them. It takes no descriptor, of which there may be none left; reading the
 * folder would.
 *
 * @returns whether it is gone: it stays when there is more in it
 * @throws a system error
 */
export function removeFolder(path: string, files: readonly string[]): boolean {
  const gone = (remove: () => void) => {
    try {
      remove();
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT") return true;
      if (code === "ENOTEMPTY" || code === "EEXIST") return false;
      throw error;
    }
  };
  for (const file of files) gone(() => unlinkSync(join(path, file)));
  return gone(() => rmdirSync(path));
}
