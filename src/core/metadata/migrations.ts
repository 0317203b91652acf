import type { Table } from "./store.js";

/** Of the specifications of containers. */
export const SPECS_TABLE = "container-specs";

/** How many records are looked at in one go. */
const PAGE = 100;

/** Changes what a store of one version has into what the next version has. @param table gives a table by its name */
export type Migration = (table: <Value>(name: string) => Table<Value>) => void;

/**
 * The first is from version 1 to 2. There is a new version with each change that an earlier daemon would not understand; all of a migration
 * is in one transaction.
 */
export const MIGRATIONS: readonly Migration[] = [
  // Tables of content, images and snapshots are new; what was there is as it was.
  () => {},
  // Specifications of containers have a table of their own.
  (table) => {
    const records = table<Record<string, unknown>>("containers");
    const specs = table<unknown>(SPECS_TABLE);
    for (let page = records.page(undefined, PAGE); page.length > 0; page = records.page(page.at(-1)!.key, PAGE)) {
      for (const { key, value } of page) {
        const { spec, ...record } = value;
        if (spec === undefined) continue;
        specs.put(key, spec);
        records.put(key, record);
      }
    }
  },
];
