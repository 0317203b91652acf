/** netd-log.json in the daemon's run directory: what an operator reads, and the daemon when netd does not come up. */
import { NETD_LOG } from "../contract/netd/messages";
import * as files from "../shim/syscalls/files";

/** In bytes: what goes wrong again and again must not fill the disk. */
const LONGEST_LOG = 262_144;

let path = "";
let written = 0;

/** Begins a new log. No descriptor of it is kept: it would keep the directory's file system busy. */
export function openLog(directory: string): void {
  path = `${directory}/${NETD_LOG}`;
  const fd = files.open(path, files.O_WRONLY + files.O_CREAT + files.O_TRUNC + files.O_OWN, 0o600);
  if (fd >= 0) files.close(fd);
}

export function logError(message: string): void {
  const [text] = string.gsub(message, '[%c"\\]', (char) =>
    char === '"' || char === "\\" ? `\\${char}` : string.format("\\u%04x", string.byte(char)),
  );
  const line = `{"level":"error","msg":"${text}"}\n`;
  written += line.length;
  if (written > LONGEST_LOG) return;
  const fd = files.open(path, files.O_WRONLY + files.O_APPEND + files.O_OWN);
  if (fd < 0) return;
  files.write(fd, line, line.length);
  files.close(fd);
}
