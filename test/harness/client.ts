/** The client library on a daemon of a test file's own. */
import { spawn } from "node:child_process";
import { afterAll, beforeAll } from "vitest";
import { type Client, connect } from "../../src/client/index.js";
import { type DaemonOptions, startDaemon, type TestDaemon } from "./daemon.js";
import { sharedRootfs } from "./rootfs.js";

export interface ClientFixture {
  readonly daemon: TestDaemon;
  /** On a connection of its own. */
  readonly client: Client;
  /** Where a container of busybox is: the root file system that all share, and its files in the daemon's directory. */
  place(): { rootfs: string; bundleDir: string; stdioDir: string };
  /** The same, with an id that is free. */
  one(): { rootfs: string; bundleDir: string; stdioDir: string; id: string };
}

/** Starts a daemon before the first test of a file (or of the `describe` around the call), ends it after the last. */
export function useClient(daemonOptions: DaemonOptions = {}): ClientFixture {
  let daemon: TestDaemon;
  let client: Client;
  let count = 0;
  beforeAll(async () => {
    daemon = await startDaemon(daemonOptions);
    client = connect(daemon.listen);
  });
  afterAll(async () => {
    client?.close();
    await daemon?.[Symbol.asyncDispose]();
  });
  return {
    get daemon() {
      return daemon;
    },
    get client() {
      return client;
    },
    place() {
      return { rootfs: sharedRootfs(), bundleDir: daemon.dir, stdioDir: daemon.dir };
    },
    one() {
      return { ...this.place(), id: daemon.id(`c${count++}`) };
    },
  };
}

/** Makes an image of the root file system that all tests share. */
export async function importRootfs(client: Client, name: string): Promise<void> {
  const tar = spawn("tar", ["-C", sharedRootfs(), "-c", "."]);
  await client.images.import(tar.stdout, { rootfs: true, name });
}

/** Removes all containers, whether they run or not. */
export async function removeAll(client: Client): Promise<void> {
  for (const container of await client.containers.list()) await container.remove({ force: true });
}
