import { stat } from "node:fs/promises";
import { dirname } from "node:path";

/** Of a mode: everybody may go through the directory. */
const SEARCHABLE_BY_ALL = 0o001;

/** The uppermost directory of a path (it included) that not everybody may go through, if there is one. @throws a system error */
export async function closedToOthers(path: string): Promise<string | undefined> {
  const above = dirname(path);
  const closed = above === path ? undefined : await closedToOthers(above);
  return closed ?? (((await stat(path)).mode & SEARCHABLE_BY_ALL) === 0 ? path : undefined);
}
