import "./telemetry/reserve-sigusr1.js";
import "./telemetry/standard-error.js";
import { fileURLToPath } from "node:url";
import { exitNow } from "../system/linux/exit-now.js";
import { errorText } from "../system/linux/libc.js";
import { runDaemon } from "./daemon.js";
import { FlagsExit, parseFlags } from "./flags.js";
import { standardError } from "./telemetry/standard-error.js";

/** In ms: how long writing the reason may take when the daemon does not start. */
const FLUSH_TIMEOUT = 1_000;

try {
  const flags = parseFlags(process.argv.slice(2));
  const own = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  await runDaemon(flags, { shim: own("containerd-shim"), netd: own("containerd-netd") }, standardError);
} catch (error) {
  if (error instanceof FlagsExit) process.exit(error.exitCode);
  standardError.write(`containerd: ${errorText(error)}\n`);
  await standardError.flush(FLUSH_TIMEOUT);
  exitNow(1);
}
