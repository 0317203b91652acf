import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { required, wholePath } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { endingWell } from "../ending.js";

interface StartFlags {
  attach?: boolean;
  checkpoint?: string;
  checkpointDir?: string;
  label?: string[];
  pivot: boolean;
  runtime?: string;
  runtimeArgs?: string[];
}

export function containersStartCommand(): Command {
  const command = new Command("start")
    .description("start a container from a bundle")
    .usage("[flags] ID BUNDLE")
    .argument("[id]", "a name that no other container has")
    .argument("[bundle]", "the folder with config.json")
    .option("-a, --attach", "connect stdin, stdout and stderr, and end with the container's exit status")
    .option("-c, --checkpoint <name>", "restore the container from this checkpoint")
    .option("--checkpoint-dir <directory>", "where checkpoints are (default: the bundle's folder checkpoints)")
    .option("-l, --label <label...>", "a label for the container; repeatable")
    .option("--no-pivot", "do not use pivot_root (for bundles on a ramdisk)")
    .option("-r, --runtime <name>", "name or path of the OCI runtime (default: the daemon's)")
    .option("--runtime-args <argument...>", "an argument for the runtime (without --runtime: for runc); repeatable");
  command.action(async (id: string | undefined, bundle: string | undefined, flags: StartFlags) => {
    const path = wholePath(required(bundle, "bundle path", command));
    const options = {
      id: required(id, "container id", command),
      bundle: path,
      labels: flags.label ?? [],
      noPivotRoot: !flags.pivot,
      // The daemon takes arguments only together with a runtime; in the original --runtime has this default.
      runtime: flags.runtime ?? (flags.runtimeArgs ? "runc" : ""),
      runtimeArgs: flags.runtimeArgs ?? [],
      checkpoint: flags.checkpoint ?? "",
      checkpointDir: wholePath(flags.checkpointDir),
    };
    const client = await openClient(command);
    if (!flags.attach) {
      await endingWell((signal) => client.v0.containers.start({ ...options, stdio: "detached", signal }));
      return;
    }
    const terminal = readTerminalSetting(path);
    const { attach } = await import("./attach.js");
    process.exitCode = await endingWell(async (signal) => {
      const container = await client.v0.containers.start({ ...options, terminal, signal });
      return attach(container.init, terminal, signal);
    });
  });
  return addExamples(
    command,
    "ctr containers start --attach web /bundles/web",
    "ctr containers start --label tier=front --runtime crun web /bundles/web",
  );
}

/** Whether the bundle's process wants a terminal. @throws Error that names the file. */
function readTerminalSetting(bundle: string): boolean {
  const file = join(bundle, "config.json");
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // As the daemon and the client library word it.
    if (code === "ENOENT")
      throw new Error(
        `open ${file}: no such file or directory; bundle must be a folder with config.json on the daemon's machine`,
        { cause: error },
      );
    if (code === "ENOTDIR") throw new Error(`open ${file}: not a directory`, { cause: error });
    throw error;
  }
  try {
    return JSON.parse(text)?.process?.terminal === true;
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}`, { cause: error });
  }
}
