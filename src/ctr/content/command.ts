import { createHash } from "node:crypto";
import { once } from "node:events";
import { Command } from "commander";
import type { Client } from "../../client/index.js";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { bytes } from "../output/bytes.js";
import { addOutputFlags, outputFlags, printJsonLines, printNames } from "../output/output-flags.js";
import { print } from "../output/print.js";
import { tabwriter } from "../output/tabwriter.js";
import { checkImages } from "./check-images.js";

export function contentCommand(): Command {
  const command = new Command("content")
    .description("look at the blobs that images are made of")
    .enablePositionalOptions();
  for (const subcommand of [listCommand(), getCommand(), checkCommand()]) command.addCommand(subcommand);
  return addExamples(command, "ctr content ls", "ctr content check");
}

interface Blob {
  digest: string;
  size: number;
  createdAt: string;
  labels: Record<string, string>;
}

async function blobsOf(client: Client, filters: readonly string[] = []): Promise<Blob[]> {
  const blobs: Blob[] = [];
  for await (const { info } of await client.v1.content.list({ filters: [...filters] }))
    for (const { digest, size, createdAt, labels } of info)
      blobs.push({ digest, size: Number(size), createdAt: timeOf(createdAt?.seconds), labels });
  return blobs.sort((a, b) => (a.digest < b.digest ? -1 : 1));
}

function timeOf(seconds = 0n): string {
  return new Date(Number(seconds) * 1000).toISOString().replace(".000Z", "Z");
}

function listCommand(): Command {
  const command = new Command("ls")
    .alias("list")
    .description("list the blobs")
    .argument("[filter...]", "only those that fit one of them: size>1000000, labels.KEY==VALUE");
  addOutputFlags(command, "digests");
  command.action(async (filters: string[]) => {
    const { json, quiet } = outputFlags(command);
    const blobs = await blobsOf(await openClient(command), filters);
    if (quiet) return await printNames(blobs.map(({ digest }) => digest));
    if (json) return await printJsonLines(blobs);
    const rows = blobs.map(({ digest, size, createdAt, labels }) => [
      digest,
      bytes(size),
      createdAt,
      Object.entries(labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(","),
    ]);
    await print(tabwriter([["DIGEST", "SIZE", "CREATED", "LABELS"], ...rows], { minWidth: 1, padding: 3 }));
  });
  return addExamples(command, "ctr content ls");
}

function getCommand(): Command {
  const command = new Command("get")
    .description("write a blob to stdout, as it is")
    .argument("[digest]", "sha256:… of it");
  command.action(async (given: string | undefined) => {
    const digest = required(given, "digest", command);
    const client = await openClient(command);
    for await (const { data } of await client.v1.content.read({ digest }))
      if (!process.stdout.write(data)) await once(process.stdout, "drain");
    await print("");
  });
  return addExamples(command, "ctr content get sha256:… | tar -tz");
}

function checkCommand(): Command {
  const command = new Command("check")
    .description("read every blob, follow every image to its layers; fails when something is damaged or missing")
    .option("-q, --quiet", "print only what is wrong");
  command.action(async ({ quiet }: { quiet?: boolean }) => {
    const client = await openClient(command);
    const wrong: string[] = [];
    const blobs = await blobsOf(client);
    for (const { digest, size } of blobs) {
      const problem = await problemOf(client, digest, size);
      if (problem !== undefined) wrong.push(`${digest}: ${problem}`);
    }
    const images = await checkImages(client, new Set(blobs.map(({ digest }) => digest)));
    wrong.push(...images.wrong);
    await printNames(wrong);
    if (wrong.length > 0)
      throw new Error(`${wrong.length} of ${blobs.length + images.count} are not as they should be`);
    if (!quiet) await print(`${blobs.length} blobs and ${images.count} images are as they should be\n`);
  });
  return addExamples(command, "ctr content check");
}

/** What is wrong with a blob. */
async function problemOf(client: Client, digest: string, size: number): Promise<string | undefined> {
  const [algorithm = ""] = digest.split(":");
  const hash = createHash(algorithm);
  let length = 0;
  try {
    for await (const { data } of await client.v1.content.read({ digest })) {
      hash.update(data);
      length += data.length;
    }
  } catch (error) {
    // It may have gone while the others were read.
    const gone = await client.v1.content.info({ digest }).catch((failure) => failure);
    return gone instanceof Error && (gone as { isNotFound?: boolean }).isNotFound
      ? undefined
      : (error as Error).message;
  }
  if (length !== size) return `it has ${length} bytes, not ${size}`;
  const actual = `${algorithm}:${hash.digest("hex")}`;
  return actual === digest ? undefined : `its digest is ${actual}`;
}
