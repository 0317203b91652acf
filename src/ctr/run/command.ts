import { randomBytes } from "node:crypto";
import { Command, Option } from "commander";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { endingWell } from "../ending.js";
import { PLATFORM_FLAG } from "../images/transfer-flags.js";
import type { RunFlags } from "./spec-of-image.js";

interface Flags extends RunFlags {
  name?: string;
  platform?: string;
}

export function runCommand(): Command {
  const command = new Command("run")
    .description("run a command in a container of an image, to its end; nothing of the container is kept")
    .usage("[flags] IMAGE [ARGUMENT...]")
    .argument("[image]", "an image that is here")
    .argument("[argument...]", "in place of the command that the image names; flags behind it are its own")
    .option("--name <name>", "of the container, which no other one has (default: a random one)")
    .option("-t, --tty", "give it a terminal")
    .option("-i, --interactive", "read stdin, which it does anyway")
    .option("--rm", "keep nothing of it, which it does anyway")
    .option("-e, --env <variable...>", "an environment variable KEY=value; repeatable")
    .option("-u, --user <name>", "user, or user:group, by name or number (default: what the image says)")
    .option("-w, --workdir <directory>", "its working directory (default: what the image says)")
    .option("--entrypoint <program>", "in place of the program that the image starts with")
    .option(
      "--mount <source:destination...>",
      "a file or folder of this machine, read-only with :ro behind it; repeatable",
    )
    .option("--read-only", "nothing of the image's files can be changed")
    .addOption(new Option("--network <which>", "where its network is").choices(["none", "host"]).default("none"))
    .option(PLATFORM_FLAG, "for which (default: what this machine runs)")
    .passThroughOptions();
  command.action(async (image: string | undefined, args: string[], { name, ...flags }: Flags) => {
    const wanted = required(image, "image", command);
    const id = name ?? `run-${randomBytes(4).toString("hex")}`;
    const client = await openClient(command);
    // Loaded here: other commands need none of it.
    const { runImage } = await import("./run-image.js");
    process.exitCode = await endingWell((signal) => runImage(client, { id, image: wanted, args, flags, signal }));
  });
  return addExamples(command, "ctr run alpine echo hello", "ctr run -t --network host --name shell alpine sh");
}
