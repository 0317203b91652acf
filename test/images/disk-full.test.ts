/** A disk that is full at whatever stage of a pull: an error that says so, its space back, and the same call works once there is room. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startDaemon } from "../harness/daemon.js";
import { mountsBelow } from "../harness/mounted.js";
import { hasRegistry, startRegistry } from "../harness/registry.js";
import { directoryPrefix } from "../harness/run-name.js";
import { makeTestImage } from "../harness/test-images.js";
import { Transfers } from "../harness/transfer.js";
import { contentOf, imageNames, lookInto, SNAPSHOTTER } from "../harness/unpacked.js";

import { type ApiV1, refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const MB = 1 << 20;
/** In bytes: how much more room there is at each try. */
const STEP = 1.5 * MB;

/** Lets go of all, and waits until it has gone. */
async function removeAll(api: ApiV1): Promise<void> {
  for (const name of await imageNames(api)) await api.images.delete({ name, sync: true });
  for (const { id } of (await api.leases.list()).leases) await api.leases.delete({ id, sync: true });
  await eventually(async () => {
    expect(await contentOf(api)).toEqual([]);
    expect(await api.listSnapshots(SNAPSHOTTER)).toEqual([]);
    return true;
  });
}

/** In bytes, on the disk: of the layers' files that are whole. */
function layerSizes(root: string): number {
  const layers = join(root, "layers");
  const files = readdirSync(layers).filter((name) => name.endsWith(".erofs"));
  return files.reduce((sum, name) => sum + statSync(join(layers, name)).blocks * 512, 0);
}

test.skipIf(!hasRegistry)("a pull with ever more room, until there is enough", async () => {
  const disk = mkdtempSync(`${directoryPrefix()}disk-`);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=64m", "ctd-test", disk]);
  try {
    await using registry = await startRegistry();
    await using daemon = await startDaemon({ root: join(disk, "root") });
    const { layout, image } = await makeTestImage(join(daemon.dir, "edges"), "edges");
    await registry.push(layout.dir, "test/edges:latest");
    const reference = `${registry.host}/test/edges:latest`;
    const api = daemon.v1("full");
    const free = () => {
      const { bavail, bsize } = statfsSync(disk);
      return bavail * bsize;
    };
    // Once with room: what the store itself takes is there from then on.
    await new Transfers(api).pull(reference);
    await removeAll(api);
    const most = free();
    const filler = join(disk, "filler");
    let failures = 0;
    for (let room = 0.25 * MB; ; room += STEP) {
      expect(room).toBeLessThan(64 * MB);
      writeFileSync(filler, Buffer.alloc(Math.max(0, free() - room)));
      const pulled = await new Transfers(api).pull(reference).then(
        () => undefined,
        (error: Error) => error,
      );
      if (pulled === undefined) break;
      failures++;
      expect(await refusal(Promise.reject(pulled)), `${room} bytes`).toMatch(/^RESOURCE_EXHAUSTED: .*no space left/s);
      // The daemon and its records go on.
      expect(await imageNames(api)).toEqual([]);
      truncateSync(filler, 0);
      await removeAll(api);
      // A layer that is whole is kept for the next try.
      await eventually(() => free() + layerSizes(daemon.root) > most - MB / 4, {
        what: "the space of what was half pulled",
      });
      expect(mountsBelow(daemon.root)).toEqual([]);
    }
    // It was full before the first layer, and in the last.
    expect(failures).toBeGreaterThan(3);
    await lookInto(daemon, api, image.chainIds.at(-1)!, (root) =>
      expect(readFileSync(join(root, "data/1/new.txt"), "utf8")).toBe("new"),
    );
    rmSync(filler);
    await removeAll(api);
    await daemon.expectNothingLeft();
  } finally {
    spawnSync("umount", ["--lazy", disk]);
    rmSync(disk, { recursive: true });
  }
});
