import { type Failure, refusal } from "../../core/failure/failure.js";

/** What a path of a field mask may name in a record: a field, by the name that paths have for it, and whether it is a map. */
export type MaskFields<Record> = ReadonlyMap<string, { field: keyof Record; isMap?: boolean }>;

/**
 * A record with the fields of another one that the mask names: `image`, `labels`, `labels.KEY`. An entry of a map that the other does not
 * have is removed. An empty mask takes all fields that may change.
 * @param subject what an error calls the record, if anything
 * @throws Failure (invalid-argument) for a path that names none
 */
export function masked<Record extends object>(
  before: Record,
  wanted: Record,
  paths: readonly string[] | undefined,
  fields: MaskFields<Record>,
  subject: string,
): Record {
  const after = { ...before };
  for (const path of paths?.length ? paths : fields.keys()) {
    const whole = fields.get(path);
    if (whole !== undefined) {
      after[whole.field] = wanted[whole.field];
      continue;
    }
    const dot = path.indexOf(".");
    const map = dot === -1 ? undefined : fields.get(path.slice(0, dot));
    if (!map?.isMap) throw unknownPath(path, subject);
    const key = path.slice(dot + 1);
    const entries = new Map(Object.entries(after[map.field] as object));
    const values = wanted[map.field] as object;
    if (Object.hasOwn(values, key)) entries.set(key, values[key as keyof typeof values]);
    else entries.delete(key);
    after[map.field] = Object.fromEntries(entries) as Record[keyof Record];
  }
  return after;
}

function unknownPath(path: string, subject: string): Failure {
  const why = `cannot update ${JSON.stringify(path)} field${subject === "" ? "" : ` on ${subject}`}`;
  return refusal(why);
}
