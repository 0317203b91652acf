import { goUnquote } from "../../contract/go/quote.js";

/** What the daemon tells, as the original does, of a runtime's call that has failed: all its output, quoted. */
const FAILED = /^exit status \d+: (".*")$/s;

/** A message of the daemon's; of a runtime's output only what went wrong, in the form that a failed start has. */
export function runtimeWords(message: string): string {
  const output = FAILED.exec(message)?.[1];
  if (output === undefined) return message;
  const lines = goUnquote(output)
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map(parseLine);
  const errors = lines.filter(({ level }) => /^(?:error|fatal|panic)$/.test(level));
  const told = (errors.length > 0 ? errors : lines).map(({ text }) => text);
  return told.length === 0 ? message : `oci runtime error: ${told.join("; ")}`;
}

/** A line of runc's log in either of its formats; a line in another one is its own text. */
function parseLine(line: string): { level: string; text: string } {
  const [, level = "", quoted] = /^time=\S+ level=(\w+) msg=("(?:[^"\\]|\\.)*"|\S+)/.exec(line) ?? [];
  if (quoted !== undefined) return { level, text: goUnquote(quoted) };
  try {
    const { level, msg } = JSON.parse(line);
    if (typeof level === "string" && typeof msg === "string") return { level, text: msg };
  } catch {
    // No log of runc's.
  }
  // crun's begin with the time.
  return { level: "", text: line.replace(/^\d{4}-\d\d-\d\dT[\d:.]+Z?:? /, "") };
}
