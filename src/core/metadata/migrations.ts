import type { Table } from "./store.js";

/** Changes what a store of one version has into what the next version has. @param table gives a table by its name */
export type Migration = (table: <Value>(name: string) => Table<Value>) => void;

/**
 * The first is from version 1 to 2. There is a new version with each change that an earlier daemon would not understand; all of a migration
 * is in one transaction.
 */
export const MIGRATIONS: readonly Migration[] = [
  // Tables of content, images and snapshots are new; what was there is as it was.
  () => {},
];
