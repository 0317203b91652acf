import { type BigIntStats, closeSync, constants, fstatSync } from "node:fs";
import { textOf } from "../../../../contract/tar/archive-entry.js";
import { O_PATH, readLinkOpened } from "../../../../system/linux/at-calls.js";
import { openInRoot } from "../../../../system/linux/openat2.js";
import { FileOwners } from "../../../files/file-owners.js";
import type { FileInfo, StatTask } from "./messages.js";
import { partsOf } from "./names.js";

const { O_NOFOLLOW, S_IFLNK, S_IFMT } = constants;

/** What is at a path; a link there is not followed. @throws a system error */
export function infoOf({ root, path, idMaps }: StatTask): FileInfo {
  const fd = openInRoot(root, path, O_PATH | O_NOFOLLOW);
  try {
    const stats: BigIntStats = fstatSync(fd, { bigint: true });
    const owners = new FileOwners(idMaps);
    const mode = Number(stats.mode);
    return {
      name: textOf(partsOf(path)?.at(-1) ?? "/"),
      size: Number(stats.size),
      mode,
      modifiedAt: stats.mtimeNs,
      linkTarget: (mode & S_IFMT) === S_IFLNK ? textOf(readLinkOpened(fd)) : "",
      uid: owners.uidInside(Number(stats.uid)),
      gid: owners.gidInside(Number(stats.gid)),
    };
  } finally {
    closeSync(fd);
  }
}
