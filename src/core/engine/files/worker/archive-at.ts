import { closeSync, constants } from "node:fs";
import { O_PATH } from "../../../../system/linux/at-calls.js";
import { openInRoot } from "../../../../system/linux/openat2.js";
import { Failure } from "../../../failure/failure.js";
import { FileOwners } from "../../../files/file-owners.js";
import { archiveOf } from "../../../layers/tree-archive.js";
import { isKernels } from "./file-systems.js";
import type { GetTask } from "./messages.js";
import { partsOf } from "./names.js";

/**
 * What is at a path as a tar archive, whose entries begin with the last part of the path. The kernel's own files, as those of /proc, are
 * left out.
 * @throws a system error; Failure (invalid-argument) for a path among the kernel's own files
 */
export function* archiveAt({ root, path, followLink, idMaps }: GetTask): Generator<Buffer<ArrayBuffer>> {
  const place = openInRoot(root, path, followLink ? O_PATH : O_PATH | constants.O_NOFOLLOW);
  try {
    if (isKernels(place)) {
      const why = "these are the kernel's own files, which are not read";
      throw new Failure("invalid-argument", "container-files", { path: Buffer.from(path, "latin1").toString(), why });
    }
    const name = partsOf(path)?.at(-1) ?? "";
    yield* archiveOf(place, name, { owners: new FileOwners(idMaps), isLayer: false, isLeftOut: isKernels });
  } finally {
    closeSync(place);
  }
}
