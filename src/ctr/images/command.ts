import { Command } from "commander";
import { addExamples } from "../command-line/example.js";
import { imagesExportCommand } from "./export.js";
import { imagesImportCommand } from "./import.js";
import { imagesInspectCommand } from "./inspect.js";
import { imagesListCommand } from "./list.js";
import { imagesMountCommand, imagesUnmountCommand } from "./mount.js";
import { imagesPruneCommand } from "./prune.js";
import { imagesPullCommand } from "./pull.js";
import { imagesPushCommand } from "./push.js";
import { imagesRemoveCommand } from "./remove.js";
import { imagesTagCommand } from "./tag.js";
import { imagesUsageCommand } from "./usage.js";

export function imagesCommand(): Command {
  const command = new Command("images").description("fetch, keep and look at images").enablePositionalOptions();
  for (const subcommand of [
    imagesExportCommand(),
    imagesImportCommand(),
    imagesInspectCommand(),
    imagesListCommand(),
    imagesMountCommand(),
    imagesPruneCommand(),
    imagesPullCommand(),
    imagesPushCommand(),
    imagesRemoveCommand(),
    imagesTagCommand(),
    imagesUnmountCommand(),
    imagesUsageCommand(),
  ])
    command.addCommand(subcommand);
  return addExamples(command, "ctr images pull alpine", "ctr images ls", "ctr images rm alpine");
}
