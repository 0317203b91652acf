import { Command } from "commander";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { bytes } from "../output/bytes.js";
import { printNames } from "../output/output-flags.js";
import { print } from "../output/print.js";

export function imagesPruneCommand(): Command {
  const command = new Command("prune")
    .description("let go now of what no image, container or lease needs")
    .option("-a, --all", "remove all images that no container has");
  command.action(async ({ all = false }: { all?: boolean }) => {
    const client = await openClient(command);
    const { removed, freed } = await client.images.prune({ all });
    await printNames(removed);
    await print(`freed ${bytes(freed)}\n`);
  });
  return addExamples(command, "ctr images prune", "ctr images prune --all");
}
