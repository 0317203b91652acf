import { Command } from "commander";
import type { Client, Image } from "../../client/index.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { bytes } from "../output/bytes.js";
import { addOutputFlags, outputFlags, printJsonLines, printNames } from "../output/output-flags.js";
import { print } from "../output/print.js";
import { tabwriter } from "../output/tabwriter.js";
import { shortDigest } from "./digest.js";

const LAYOUT = { minWidth: 1, padding: 3 };
/** How many images are looked into at a time. */
const AT_ONCE = 16;

interface Details {
  platforms: string[];
  /** In bytes; undefined when not all that tells it is here. */
  size: number | undefined;
}

export function imagesListCommand(): Command {
  const command = new Command("ls")
    .alias("list")
    .description("list the images")
    .argument("[filter...]", "only those that fit one of them: name~=alpine, labels.tier==web");
  addOutputFlags(command, "names");
  command.action(async (filters: string[]) => {
    const { json, quiet } = outputFlags(command);
    const client = await openClient(command);
    const images = await client.images.list({ filters });
    if (quiet) return await printNames(images.map(({ name }) => name));
    // An image with many names is looked into once.
    const byDigest = [...new Map(images.map((image) => [image.digest, image])).values()];
    const found = new Map<string, Details>();
    for (let at = 0; at < byDigest.length; at += AT_ONCE)
      await Promise.all(
        byDigest.slice(at, at + AT_ONCE).map(async (image) => {
          found.set(image.digest, await detailsOf(client, image));
        }),
      );
    const rows = images.map((image) => ({ image, ...found.get(image.digest)! }));
    if (json)
      return await printJsonLines(
        rows.map(({ image, size, platforms }) => ({ ...image, size: size ?? null, platforms })),
      );
    const lines = rows.map(({ image, size, platforms }) => [
      image.name,
      shortDigest(image.digest),
      size === undefined ? "-" : bytes(size),
      platforms.join(",") || "-",
      image.createdAt.toISOString().replace(/\.\d+Z$/, "Z"),
    ]);
    await print(tabwriter([["NAME", "DIGEST", "SIZE", "PLATFORMS", "CREATED"], ...lines], LAYOUT));
  });
  return addExamples(command, "ctr images ls", "ctr images ls --quiet", "ctr images ls name~=alpine");
}

/** One whose content is not here, or damaged, is listed all the same. */
async function detailsOf(client: Client, image: Image): Promise<Details> {
  const platforms = await client.images.platforms(image).catch(() => []);
  const details = await client.images.inspect(image.name).catch(() => undefined);
  return { platforms, size: details?.size };
}
