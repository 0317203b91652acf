import { Command } from "commander";
import type { ImageDetails } from "../../client/index.js";
import { printable } from "../../contract/terminal/printable.js";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { bytes } from "../output/bytes.js";
import { printJsonLines } from "../output/output-flags.js";
import { print } from "../output/print.js";
import { tabwriter } from "../output/tabwriter.js";
import { PLATFORM_FLAG } from "./transfer-flags.js";

const LAYOUT = { minWidth: 1, padding: 3 };
/** In characters: how much is shown of the command that has made a layer. */
const MAX_COMMAND = 80;

export function imagesInspectCommand(): Command {
  const command = new Command("inspect")
    .aliases(["info", "history"])
    .description("show what an image is made of: configuration, history, layers")
    .argument("[image]", "the image")
    .option(PLATFORM_FLAG, "for which (default: what this machine runs)")
    .option("--json", "print JSON");
  command.action(async (name: string | undefined, { platform, json }: { platform?: string; json?: boolean }) => {
    const image = required(name, "image", command);
    const client = await openClient(command);
    const details = await client.images.inspect(image, { ...(platform !== undefined && { platform }) });
    if (json) return await printJsonLines([details]);
    await print(textOf(details));
  });
  return addExamples(command, "ctr images inspect alpine", "ctr images inspect --json alpine");
}

function textOf(details: ImageDetails): string {
  const { config, history, layers } = details;
  const command = (words: readonly string[]) => words.map((word) => JSON.stringify(word)).join(" ");
  const facts: [string, string][] = [
    ["name", details.name],
    ["digest", details.digest],
    ["type", details.mediaType],
    ["platform", details.platform],
    ["platforms", details.platforms.join(", ")],
    ["size", bytes(details.size)],
    ["entrypoint", command(config.entrypoint)],
    ["command", command(config.cmd)],
    ["user", config.user],
    ["directory", config.workingDir],
    ["stop signal", config.stopSignal],
    ...config.env.map((variable): [string, string] => ["environment", variable]),
    ...config.exposedPorts.map((port): [string, string] => ["port", port]),
    ...config.volumes.map((volume): [string, string] => ["volume", volume]),
    ...Object.entries(config.labels).map(([key, value]): [string, string] => ["label", `${key}=${value}`]),
  ];
  const lines = facts.filter(([, value]) => value !== "").map(([name, value]) => `${name}: ${printable(value)}\n`);
  const steps = history.map(({ created = "", createdBy = "", comment = "", emptyLayer }) => [
    created.replace(/\.\d+Z$/, "Z"),
    emptyLayer ? "no layer" : "layer",
    shortened(createdBy || comment),
  ]);
  const table = layers.map(({ digest, size, diffId, isPresent, createdBy = "" }) => [
    digest,
    isPresent ? bytes(size) : `${bytes(size)}, not here`,
    diffId,
    shortened(createdBy),
  ]);
  return [
    ...lines,
    ...(steps.length === 0 ? [] : ["\n", tabwriter([["CREATED", "LAYER", "BY"], ...steps], LAYOUT)]),
    ...(table.length === 0 ? [] : ["\n", tabwriter([["LAYER", "SIZE", "UNCOMPRESSED", "BY"], ...table], LAYOUT)]),
  ].join("");
}

function shortened(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > MAX_COMMAND ? `${line.slice(0, MAX_COMMAND)}…` : line;
}
