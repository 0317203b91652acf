import { Command } from "commander";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { endingWell } from "../ending.js";
import { printNames } from "../output/output-flags.js";
import { progressView } from "./progress.js";
import {
  addProgressFlags,
  addRegistryFlags,
  PLATFORM_FLAG,
  type ProgressFlags,
  type RegistryFlags,
  registryOptions,
} from "./transfer-flags.js";

interface PullFlags extends RegistryFlags, ProgressFlags {
  platform?: string;
  unpack: boolean;
}

export function imagesPullCommand(): Command {
  const command = new Command("pull")
    .description("fetch an image from its registry, ready to be run")
    .argument("[name]", "[HOST/]PATH[:TAG][@DIGEST]; alpine is docker.io/library/alpine:latest")
    .option(PLATFORM_FLAG, 'like linux/arm64, or "all" (default: what this machine runs)')
    .option("--no-unpack", "only fetch it");
  addProgressFlags(addRegistryFlags(command));
  command.action(async (name: string | undefined, { platform, unpack, ...flags }: PullFlags) => {
    const reference = required(name, "image name", command);
    const view = progressView(flags);
    const options = { ...registryOptions(flags), unpack, ...(platform !== undefined && { platform }) };
    const client = await openClient(command);
    const image = await endingWell(async (signal) => {
      try {
        return await client.images.pull(reference, {
          ...options,
          signal,
          onProgress: (event) => view.onProgress(event),
        });
      } finally {
        view.end();
      }
    });
    if (!flags.json) await printNames([image.name]);
  });
  return addExamples(
    command,
    "ctr images pull alpine",
    "ctr images pull --platform linux/arm64 registry.example/team/app:1",
  );
}
