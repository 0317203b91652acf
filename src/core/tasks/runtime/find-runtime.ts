import { access, constants, stat } from "node:fs/promises";
import { hasCode } from "../../../system/linux/libc.js";
import { findProgramFile, type ProgramFile } from "../../../system/linux/spawn.js";
import type { NoRuntime } from "../../failure/failure.js";
import { onForeignFiles } from "../../files/foreign-files.js";

/**
 * The file of a runtime, as {@link findProgramFile}. A name is looked up on the daemon's PATH; a path may come from any client, and its
 * file system may hang.
 * @throws Failure (deadline-exceeded), or the caller's reason
 */
export async function findRuntime(name: string, caller?: AbortSignal): Promise<ProgramFile | undefined> {
  if (!name.includes("/")) return findProgramFile(name);
  return await onForeignFiles(
    name,
    async () => {
      try {
        await access(name, constants.X_OK);
        const stats = await stat(name);
        return stats.isFile() ? { path: name, stats } : undefined;
      } catch {
        return undefined;
      }
    },
    caller,
  );
}

/**
 * Why a path is no runtime.
 * @throws as {@link findRuntime}
 */
export async function whyNoRuntime(path: string, caller?: AbortSignal): Promise<NoRuntime> {
  const isMissing = await onForeignFiles(
    path,
    () =>
      stat(path).then(
        () => false,
        (error) => hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR"),
      ),
    caller,
  );
  return isMissing ? "no such file" : "not executable";
}
