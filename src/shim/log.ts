/** shim-log.json: what the daemon tells its caller when a start fails, and what an operator reads afterwards. */
import * as sys from "./syscalls";

let path = "shim-log.json";

/**
 * Creates the log. An empty one says that the shim had no error of its own: the Go daemon goes on to the runtime's
 * log only when it can read this one.
 */
export function openLog(directory: string): void {
  path = `${directory}/shim-log.json`;
  append("");
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
  const fd = sys.open(path, sys.O_WRONLY + sys.O_CREAT + sys.O_APPEND, 0o644);
  if (fd < 0) return;
  sys.write(fd, text, text.length);
  sys.close(fd);
}

function entry(level: string, message: string): string {
  const [text] = string.gsub(message, '[%c"\\]', (char) =>
    char === '"' || char === "\\" ? `\\${char}` : string.format("\\u%04x", string.byte(char)),
  );
  return `{"level":"${level}","msg":"${text}"}\n`;
}
