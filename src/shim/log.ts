/** shim-log.json: what the daemon tells its caller when a start fails, and what an operator reads afterwards. */
import { SHIM_LOG } from "../contract/shim/process-directory";
import * as files from "./syscalls/files";

let log = -1;

/**
 * Creates the log, and keeps it open: running out of descriptors is one of the things to be told. An empty one says that
 * the shim had no error of its own: the Go daemon goes on to the runtime's log only when it can read this one.
 */
export function openLog(): void {
  log = files.open(SHIM_LOG, files.O_WRONLY + files.O_CREAT + files.O_APPEND, 0o600);
}

/** The first error is the reason that the daemon gives for a failed start. */
export function logError(message: string): void {
  append(entry("error", message));
}

/** Something that went wrong without failing the start. */
export function logWarning(message: string): void {
  append(entry("warning", message));
}

function append(text: string): void {
  files.write(log, text, text.length);
}

function entry(level: string, message: string): string {
  const [text] = string.gsub(message, '[%c"\\]', (char) =>
    char === '"' || char === "\\" ? `\\${char}` : string.format("\\u%04x", string.byte(char)),
  );
  return `{"level":"${level}","msg":"${text}"}\n`;
}
