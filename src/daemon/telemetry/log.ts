import { type Logger, pino, stdTimeFunctions } from "pino";
import { printableJson } from "../../contract/terminal/printable.js";
import type { LogOutput } from "./log-output.js";

/** The levels by their names in the original; pino has no panic. */
const LEVELS: Record<string, string> = { panic: "fatal" };

/**
 * The daemon's log.
 * @param format "text": `time="…" level=info msg="…" key=value`, as the original's; "json": one object per line
 */
export function createLog(format: "text" | "json", level: string, output: LogOutput): Logger {
  const inFormat = format === "json" ? printableJson : textLine;
  const log = pino(
    {
      level: LEVELS[level] ?? level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => output.write(`${inFormat(line.trimEnd())}\n`) },
  );
  output.onRecovery = (dropped, reason) =>
    log.error({ dropped, error: reason }, "containerd: log lines were lost, in all since the daemon's start");
  return log;
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
