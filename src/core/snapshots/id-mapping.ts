import type { IdRange } from "../../system/mount/user-namespace.js";
import { refusal } from "../failure/failure.js";
import type { Labels } from "../metadata/labels.js";

/** As containerd 2.x's clients ask for a snapshot whose files belong to the ids of a user namespace. */
const UID_LABEL = "containerd.io/snapshot/uidmapping";
const GID_LABEL = "containerd.io/snapshot/gidmapping";

const MAX_ID = 2 ** 32 - 1;
/** As many as the kernel takes. */
const MAX_RANGES = 340;

/** Who the owners of files are for who mounts a snapshot. */
export interface IdMapping {
  uids: IdRange[];
  gids: IdRange[];
}

/** What labels ask for; undefined: files belong to whom they do on the disk. @throws Failure (invalid-argument) */
export function idMappingOf(labels: Labels): IdMapping | undefined {
  const [uids, gids] = [labels[UID_LABEL], labels[GID_LABEL]];
  if (uids === undefined && gids === undefined) return undefined;
  if (uids === undefined || gids === undefined) throw refusal(`labels ${UID_LABEL} and ${GID_LABEL} go together`);
  return { uids: rangesOf(UID_LABEL, uids), gids: rangesOf(GID_LABEL, gids) };
}

/** `INSIDE:OUTSIDE:LENGTH[,…]` */
function rangesOf(label: string, value: string): IdRange[] {
  const ranges = value.split(",").map((text): IdRange => {
    const [inside, outside, length] = (/^(\d{1,10}):(\d{1,10}):(\d{1,10})$/.exec(text)?.slice(1) ?? []).map(Number);
    const isRange =
      inside !== undefined &&
      outside !== undefined &&
      length !== undefined &&
      length > 0 &&
      Math.max(inside, outside) + length <= MAX_ID;
    if (!isRange) throw refusal(`label ${label}=${JSON.stringify(value)}: not of the form INSIDE:OUTSIDE:LENGTH`);
    return { inside, outside, length };
  });
  if (ranges.length > MAX_RANGES) throw refusal(`label ${label}: more than ${MAX_RANGES} ranges`);
  return ranges;
}

/** The labels that ask for a mapping. */
export function idMappingLabels({ uids, gids }: IdMapping): Labels {
  const text = (ranges: readonly IdRange[]) =>
    ranges.map(({ inside, outside, length }) => `${inside}:${outside}:${length}`).join();
  return { [UID_LABEL]: text(uids), [GID_LABEL]: text(gids) };
}
