import { Command } from "commander";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { bytes } from "../output/bytes.js";
import { printJsonLines } from "../output/output-flags.js";
import { print } from "../output/print.js";
import { tabwriter } from "../output/tabwriter.js";

export function imagesUsageCommand(): Command {
  const command = new Command("usage").description("show how much room images take").option("--json", "print JSON");
  command.action(async ({ json }: { json?: boolean }) => {
    const client = await openClient(command);
    const [usage, images] = await Promise.all([client.images.usage(), client.images.list()]);
    if (json) return await printJsonLines([{ images: images.length, ...usage }]);
    const rows = [
      ["images", `${images.length}`, ""],
      ["blobs", `${usage.blobs.count}`, bytes(usage.blobs.bytes)],
      ["snapshots", `${usage.snapshots.count}`, bytes(usage.snapshots.bytes)],
      ["all", "", bytes(usage.blobs.bytes + usage.snapshots.bytes)],
    ];
    await print(tabwriter([["WHAT", "COUNT", "SIZE"], ...rows], { minWidth: 1, padding: 3 }));
  });
  return addExamples(command, "ctr images usage");
}
