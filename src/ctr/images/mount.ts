import { mkdirSync } from "node:fs";
import { resolve } from "node:path";
import { Command } from "commander";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { mountAll, unmount } from "./mount-program.js";
import { snapshotOf } from "./snapshot-of.js";
import { PLATFORM_FLAG } from "./transfer-flags.js";

const SNAPSHOTTER = "overlayfs";

export function imagesMountCommand(): Command {
  const command = new Command("mount")
    .description("mount an image's files at a directory of this machine")
    .usage("[flags] IMAGE DIRECTORY")
    .argument("[image]", "the image")
    .argument("[directory]", "where; made when it is missing")
    .option("--rw", "what is changed there is kept until it is unmounted (default: nothing can be)")
    .option(PLATFORM_FLAG, "for which (default: what this machine runs)");
  command.action(
    async (
      image: string | undefined,
      directory: string | undefined,
      { rw, platform }: { rw?: boolean; platform?: string },
    ) => {
      const name = required(image, "image", command);
      const target = resolve(required(directory, "directory", command));
      const client = await openClient(command);
      const { chainId: parent } = await client.images.inspect(name, { ...(platform !== undefined && { platform }) });
      const snapshot = snapshotOf(target);
      const asked = { snapshotter: SNAPSHOTTER, key: snapshot, parent };
      const { mounts } = await (rw ? client.v1.snapshots.prepare(asked) : client.v1.snapshots.view(asked));
      try {
        mkdirSync(target, { recursive: true });
        mountAll(mounts, target);
      } catch (error) {
        await client.v1.snapshots.remove({ snapshotter: SNAPSHOTTER, key: snapshot });
        throw error;
      }
    },
  );
  return addExamples(command, "ctr images mount alpine /mnt", "ctr images unmount /mnt");
}

export function imagesUnmountCommand(): Command {
  const command = new Command("unmount")
    .alias("umount")
    .description("undo ctr images mount; what was changed there is gone")
    .usage("DIRECTORY")
    .argument("[directory]", "where");
  command.action(async (directory: string | undefined) => {
    const target = resolve(required(directory, "directory", command));
    const client = await openClient(command);
    const snapshot = snapshotOf(target);
    // It is there as long as something may be mounted.
    await client.v1.snapshots.stat({ snapshotter: SNAPSHOTTER, key: snapshot });
    unmount(target);
    await client.v1.snapshots.remove({ snapshotter: SNAPSHOTTER, key: snapshot });
  });
  return addExamples(command, "ctr images unmount /mnt");
}
