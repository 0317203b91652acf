import { Command } from "commander";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { printNames } from "../output/output-flags.js";

export function imagesTagCommand(): Command {
  const command = new Command("tag")
    .description("give an image another name; an image that had it loses it")
    .usage("IMAGE NAME...")
    .argument("[image]", "the image")
    .argument("[name...]", "the names");
  command.action(async (image: string | undefined, names: string[]) => {
    const source = required(image, "image", command);
    required(names[0], "name", command);
    const client = await openClient(command);
    for (const name of names) await printNames([(await client.images.tag(source, name)).name]);
  });
  return addExamples(command, "ctr images tag alpine registry.example/team/alpine:1");
}
