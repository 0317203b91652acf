import { Command } from "commander";
import type { v0 } from "../client/index.js";
import { formatTimestamp, parseTimestamp } from "../client/timestamp.js";
import { addExamples } from "./command-line/example.js";
import { openClient } from "./command-line/global-flags.js";
import { addOutputFlags, outputFlags, printJsonLines, printNames } from "./output/output-flags.js";
import { print } from "./output/print.js";
import { tabwriter } from "./output/tabwriter.js";

const LAYOUT = { minWidth: 31, padding: 1 };
const EPOCH = { seconds: 0n, nanos: 0 };

export function eventsCommand(): Command {
  const command = new Command("events")
    .description("print stored events, then those that happen")
    .option("-t, --timestamp <time>", "only events later than this, RFC 3339 with up to nine decimals");
  addOutputFlags(command, "container ids");
  command.action(async ({ timestamp }: { timestamp?: string }) => {
    const since = timestamp ? parseTimestamp(timestamp) : EPOCH;
    const { json, quiet } = outputFlags(command);
    const client = await openClient(command);
    const events = client.v0.events({ since });
    await events.subscribed();
    if (!json && !quiet) await print(tabwriter([["TIME", "TYPE", "ID", "PID", "STATUS"]], LAYOUT));
    for await (const event of events) {
      if (quiet) await printNames([event.id]);
      else if (json) await printEventJson(event);
      else {
        const { timestamp = EPOCH, type, id, pid, status } = event;
        await print(tabwriter([[formatTimestamp(timestamp), type, id, pid, String(status)]], LAYOUT));
      }
    }
  });
  return addExamples(command, "ctr events", "ctr events --timestamp 2016-11-05T10:21:00.123456789Z");
}

/** One event as a line of JSON, the time as `--timestamp` takes it. */
export async function printEventJson({ timestamp = EPOCH, type, id, pid, status }: v0.wire.Event): Promise<void> {
  await printJsonLines([{ timestamp: formatTimestamp(timestamp), type, id, pid, status }]);
}
