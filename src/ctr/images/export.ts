import { once } from "node:events";
import { createWriteStream, rmSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { Command } from "commander";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { endingWell } from "../ending.js";
import { PLATFORM_FLAG } from "./transfer-flags.js";

export function imagesExportCommand(): Command {
  const command = new Command("export")
    .description("write images into an archive, which docker load reads as well")
    .usage("[flags] FILE IMAGE...")
    .argument("[file]", 'the archive; "-" is stdout')
    .argument("[image...]", "the images")
    .option(PLATFORM_FLAG, 'like linux/arm64, or "all" that is here (default: what this machine runs)');
  command.action(async (file: string | undefined, images: string[], { platform }: { platform?: string }) => {
    const path = required(file, "file", command);
    required(images[0], "image", command);
    const client = await openClient(command);
    await endingWell(async (signal) => {
      const archive = client.images.export(images, { signal, ...(platform !== undefined && { platform }) });
      if (path === "-") return await copyToStdout(archive);
      // What is wrong with the images is told before there is a file.
      const { value, done } = await archive.next();
      if (done) return;
      const whole = async function* () {
        yield value;
        yield* archive;
      };
      try {
        await pipeline(whole, createWriteStream(path));
      } catch (error) {
        // Half an archive is none.
        rmSync(path, { force: true });
        throw error;
      }
    });
  });
  return addExamples(
    command,
    "ctr images export alpine.tar alpine",
    "ctr images export - alpine | ssh host ctr images import -",
  );
}

async function copyToStdout(archive: AsyncIterable<Buffer>): Promise<void> {
  if (process.stdout.isTTY) throw new Error("an archive is not written to a terminal: give a file, or a pipe");
  for await (const chunk of archive) if (!process.stdout.write(chunk)) await once(process.stdout, "drain");
  await new Promise<void>((resolve, reject) => {
    process.stdout.write("", (error) => (error ? reject(error) : resolve()));
  });
}
