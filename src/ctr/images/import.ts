import { createReadStream } from "node:fs";
import { Command } from "commander";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { endingWell } from "../ending.js";
import { printNames } from "../output/output-flags.js";
import { progressView } from "./progress.js";
import { addProgressFlags, PLATFORM_FLAG, type ProgressFlags } from "./transfer-flags.js";

interface ImportFlags extends ProgressFlags {
  name?: string;
  platform?: string;
  rootfs?: boolean;
  unpack: boolean;
}

export function imagesImportCommand(): Command {
  const command = new Command("import")
    .description("take the images of an archive: docker save's, an OCI layout, a root file system")
    .usage("[flags] FILE")
    .argument("[file]", 'a tar archive, compressed or not; "-" is stdin')
    .option("--name <name>", "what the image is called (default: what the archive says)")
    .option("--rootfs", "the archive is a root file system: it becomes an image of one layer")
    .option(PLATFORM_FLAG, 'like linux/arm64, or "all" (default: what this machine runs)')
    .option("--no-unpack", "do not make it ready to be run");
  addProgressFlags(command);
  command.action(async (file: string | undefined, { name, platform, rootfs, unpack, ...flags }: ImportFlags) => {
    const path = required(file, "file", command);
    const view = progressView(flags);
    const options = {
      unpack,
      ...(name !== undefined && { name }),
      ...(platform !== undefined && { platform }),
      ...(rootfs !== undefined && { rootfs }),
    };
    const client = await openClient(command);
    const images = await endingWell(async (signal) => {
      try {
        const archive = path === "-" ? process.stdin : createReadStream(path);
        return await client.images.import(archive, {
          ...options,
          signal,
          onProgress: (event) => view.onProgress(event),
        });
      } finally {
        view.end();
      }
    });
    if (!flags.json) await printNames(images.map((image) => image.name));
  });
  return addExamples(
    command,
    "ctr images import app.tar",
    "tar -C /srv/rootfs -c . | ctr images import --rootfs --name team/tools:1 -",
  );
}
