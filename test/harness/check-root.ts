import { existsSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { Content } from "../../src/core/content/content.js";
import { EventBus } from "../../src/core/events/event-bus.js";
import { checkStore } from "../../src/core/images/check-store.js";
import { Images } from "../../src/core/images/image-records.js";
import { Collection } from "../../src/core/metadata/collection.js";
import { Leases } from "../../src/core/metadata/leases.js";
import { Namespaces } from "../../src/core/metadata/namespaces.js";
import { Store } from "../../src/core/metadata/store.js";
import { Snapshots } from "../../src/core/snapshots/snapshots.js";
import { VolumeDirectories } from "../../src/core/volumes/volume-directories.js";
import type { VolumeRecord } from "../../src/core/volumes/volume-record.js";

/** Content, snapshots, images and leases as a daemon has them, without one: for a --root that no daemon has. */
export function openRoot(root: string) {
  const store = new Store(join(root, "metadata"));
  const bus = new EventBus();
  const log = pino({ level: "silent" });
  const namespaces = new Namespaces(store, bus);
  const collection = new Collection(store, log);
  const leases = new Leases(store, namespaces, collection);
  const content = new Content(join(root, "content"), { store, namespaces, leases, collection, bus, log });
  const images = new Images({ store, namespaces, collection, bus });
  const snapshots = new Snapshots({ store, namespaces, leases, collection, bus, log, root });
  const volumes = store.table<VolumeRecord>("volumes");
  return { volumes, store, bus, namespaces, collection, leases, content, images, snapshots };
}

/** What a change that a kill has interrupted may leave, and the next daemon removes. */
const LEFT_OVER = /: (?:a (?:file|directory) that no record knows of|a mount that nothing uses)$/;

/**
 * What is wrong with all that is kept below a --root that no daemon has.
 * @param ofKilled of a daemon that was killed: without what its change under way has left over
 */
export async function faultsOfRoot(root: string, { ofKilled = false } = {}): Promise<string[]> {
  const { store, collection, content, snapshots, volumes } = openRoot(root);
  try {
    const faults: string[] = [];
    for (const fault of await faultsOfVolumes(root, await store.read(() => volumes.keys([]))))
      if (!ofKilled || !LEFT_OVER.test(fault)) faults.push(fault);
    for await (const fault of checkStore({ collection, rooms: [content, snapshots] }, true))
      if (!ofKilled || !LEFT_OVER.test(fault)) faults.push(fault);
    return faults;
  } finally {
    await store.close();
  }
}

/** @param records their keys */
async function faultsOfVolumes(root: string, records: readonly (readonly string[])[]): Promise<string[]> {
  const directories = new VolumeDirectories(join(root, "engine", "volumes"));
  const known = new Set(records.map(([namespace, name]) => `${namespace}/${name}`));
  const there = (await directories.all()).map(({ namespace, name }) => `${namespace}/${name}`);
  const unknown = there.filter((name) => !known.has(name));
  const gone = [...known].filter((name) => !existsSync(join(directories.path, name, "_data")));
  return [
    ...unknown.map((name) => `volume ${name}: a directory that no record knows of`),
    ...gone.map((name) => `volume ${name}: its files are gone`),
  ];
}
