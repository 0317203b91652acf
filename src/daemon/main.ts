import "./reserve-sigusr1.js";
import { writeSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { errorText } from "../linux/libc.js";
import { runDaemon } from "./daemon.js";
import { FlagsExit, parseFlags } from "./flags.js";

try {
  const flags = parseFlags(process.argv.slice(2));
  await runDaemon(flags, fileURLToPath(new URL("containerd-shim", import.meta.url)));
} catch (error) {
  if (error instanceof FlagsExit) process.exit(error.exitCode);
  writeSync(2, `containerd: ${errorText(error)}\n`);
  process.exit(1);
}
