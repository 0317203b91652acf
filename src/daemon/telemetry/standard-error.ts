/**
 * Imported before everything that could write to stderr. Node's own `process.stderr` makes the descriptor non-blocking, for all others who
 * have it too, as soon as somebody looks at it (the http2 module does), and a warning of Node's is a write that waits for its reader.
 */
import { LogOutput } from "./log-output.js";

/** What this daemon has to say goes through here. */
export const standardError = new LogOutput(2);

Object.defineProperty(process, "stderr", { value: standardError.stream(), configurable: true });

process.removeAllListeners("warning");
process.on("warning", ({ name, message }) => standardError.write(`containerd: ${name}: ${message}\n`));
