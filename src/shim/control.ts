/** The control FIFO: lines `<type> <width> <height>` from the daemon. */
import { CLOSE_STDIN, RESIZE } from "../contract/shim/control";
import { CONTROL_FIFO } from "../contract/shim/process-directory";
import { watch } from "./loop";
import * as files from "./syscalls/files";
import { errorText } from "./syscalls/libc";
import * as waiting from "./syscalls/waiting";

/** What the daemon can ask for. */
export interface ControlHandlers {
  readonly closeStdin: () => void;
  readonly resize: (columns: number, rows: number) => void;
}

// No message is longer; what is, is none.
const LONGEST_LINE = 256;

/** Opens the control FIFO and listens. With both ends in one hand it never ends, whatever becomes of the daemon. */
export function openControl(handlers: ControlHandlers): void {
  const fd = files.open(CONTROL_FIFO, files.O_RDWR + files.O_NONBLOCK);
  if (fd < 0) error(`open control: ${errorText(fd)}`, 0);
  let rest = "";
  watch(fd, waiting.EPOLLIN, () => {
    const text = rest + files.readText(fd, 4096);
    let [, complete] = string.find(text, "^.*\n");
    complete ??= 0;
    for (const [line] of string.gmatch(string.sub(text, 1, complete), "[^\n]+")) obey(line, handlers);
    rest = string.sub(text, complete + 1);
    if (rest.length > LONGEST_LINE) rest = "";
  });
}

function obey(line: string, handlers: ControlHandlers): void {
  const [kind, width, height] = string.match(line, "^(%d+) (%d+) (%d+)$");
  if (tonumber(kind) === CLOSE_STDIN) handlers.closeStdin();
  else if (tonumber(kind) === RESIZE) handlers.resize(tonumber(width)!, tonumber(height)!);
}
