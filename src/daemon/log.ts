import { destination, type Logger, pino, stdTimeFunctions } from "pino";
import { printableJson } from "../terminal/printable.js";

/** The levels by their names in the original; pino has no panic. */
const levels: Record<string, string> = { panic: "fatal" };

/**
 * The daemon's log, on stderr. Lines are written in the background: a reader of our stderr that stands still must not hold up the daemon.
 * @param format "text": `time="…" level=info msg="…" key=value`, as the original's; "json": one object per line
 */
export function createLog(format: "text" | "json", level: string): { log: Logger; flush: () => void } {
  const inFormat = format === "json" ? printableJson : textLine;
  const stderr = destination({ fd: 2, sync: false, minLength: 0 });
  const log = pino(
    {
      level: levels[level] ?? level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => void stderr.write(`${inFormat(line.trimEnd())}\n`) },
  );
  return {
    log,
    flush() {
      try {
        stderr.flushSync();
      } catch {
        // Nobody reads it any more.
      }
    },
  };
}

/** pino's line in the original's form. */
function textLine(line: string): string {
  const { time, level: label, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  // logrus spells it out.
  const level = label === "warn" ? "warning" : label;
  const pairs = Object.entries({ time, level, msg, ...fields }).filter(([, value]) => value !== undefined);
  return pairs.map(([key, value]) => `${key}=${textValue(value)}`).join(" ");
}

function textValue(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return /^[\w\-./@^+]+$/.test(text) ? text : printableJson(JSON.stringify(text));
}
