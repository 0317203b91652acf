import { Command } from "commander";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { endingWell } from "../ending.js";
import { progressView } from "./progress.js";
import {
  addProgressFlags,
  addRegistryFlags,
  PLATFORM_FLAG,
  type ProgressFlags,
  type RegistryFlags,
  registryOptions,
} from "./transfer-flags.js";

interface PushFlags extends RegistryFlags, ProgressFlags {
  platform?: string;
}

export function imagesPushCommand(): Command {
  const command = new Command("push")
    .description("send an image to its registry")
    .usage("[flags] IMAGE [NAME]")
    .argument("[image]", "the image")
    .argument("[name]", "its name at the registry, where that is another one")
    .option(PLATFORM_FLAG, "only what is for this one (default: all that the image names)");
  addProgressFlags(addRegistryFlags(command));
  command.action(async (image: string | undefined, name: string | undefined, { platform, ...flags }: PushFlags) => {
    const pushed = required(image, "image", command);
    const view = progressView(flags);
    const options = {
      ...registryOptions(flags),
      ...(name !== undefined && { as: name }),
      ...(platform !== undefined && { platform }),
    };
    const client = await openClient(command);
    await endingWell(async (signal) => {
      try {
        await client.images.push(pushed, { ...options, signal, onProgress: (event) => view.onProgress(event) });
      } finally {
        view.end();
      }
    });
  });
  return addExamples(command, "ctr images push registry.example/team/app:1");
}
