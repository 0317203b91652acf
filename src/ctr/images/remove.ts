import { Command } from "commander";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";

export function imagesRemoveCommand(): Command {
  const command = new Command("rm")
    .aliases(["remove", "delete", "del"])
    .description("remove images by their names; what nothing else needs goes after them")
    .argument("[image...]", "the images")
    .option("--sync", "wait until that has gone");
  command.action(async (images: string[], { sync = false }: { sync?: boolean }) => {
    required(images[0], "image", command);
    const client = await openClient(command);
    const failures: unknown[] = [];
    // All are gone by then: the last one is waited for.
    for (const [index, image] of images.entries())
      await client.images
        .remove(image, { wait: sync && index === images.length - 1 })
        .catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  });
  return addExamples(command, "ctr images rm alpine", "ctr images rm --sync $(ctr images ls --quiet name~=old)");
}
