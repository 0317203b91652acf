import { Command, InvalidArgumentError } from "commander";
import { type Moment, parseTimestamp } from "../client/timestamp.js";
import { parseGoDuration } from "../contract/go/duration.js";
import { addExamples } from "./command-line/example.js";
import { openClient } from "./command-line/global-flags.js";
import { print, printError } from "./output/print.js";

interface Flags {
  follow?: boolean;
  tail?: number;
  since?: Moment;
  until?: Moment;
  timestamps?: boolean;
}

const NEWLINE = Buffer.from("\n");

export function logsCommand(): Command {
  const command = new Command("logs")
    .description("print what a container of the engine has printed")
    .argument("<container>", "its id, the beginning of that, or its name")
    .option("-f, --follow", "go on with what it prints, until it has stopped")
    .option("-n, --tail <number>", "only so many of the last lines", lines)
    .option("--since <time>", "only lines of that time or later: RFC 3339, or how long ago, as 10m", moment)
    .option("--until <time>", "only lines of that time or earlier", moment)
    .option("-t, --timestamps", "print the time of each line before it");
  command.action(async (id: string, { timestamps = false, ...wanted }: Flags) => {
    const client = await openClient(command);
    const container = await client.containers.get(id);
    for await (const { stream, time, line, isWhole } of container.logs({ ...wanted, encoding: "buffer" })) {
      const before = timestamps ? [Buffer.from(`${time.toISOString()} `)] : [];
      await (stream === "stderr" ? printError : print)(Buffer.concat([...before, line, ...(isWhole ? [NEWLINE] : [])]));
    }
  });
  return addExamples(command, "ctr logs --follow --tail 20 web", "ctr logs --since 10m web");
}

function lines(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("It must be a number of lines.");
  return Number(text);
}

function moment(text: string): Moment {
  try {
    return /^\d{4}-/.test(text) ? parseTimestamp(text) : Date.now() - parseGoDuration(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
