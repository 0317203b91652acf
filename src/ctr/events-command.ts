import { Command } from "commander";
import { formatTimestamp, parseTimestamp } from "../client/timestamp.js";
import { addExamples } from "./example.js";
import { openClient } from "./global-flags.js";
import { print } from "./print.js";
import { tabwriter } from "./tabwriter.js";

const layout = { minWidth: 31, padding: 1 };
const epoch = { seconds: 0n, nanos: 0 };

export function eventsCommand(): Command {
  const command = new Command("events")
    .description("print stored events, then those that happen")
    .option("-t, --timestamp <time>", "only events later than this, RFC 3339 with up to nine decimals");
  command.action(async ({ timestamp }: { timestamp?: string }) => {
    const since = timestamp ? parseTimestamp(timestamp) : epoch;
    const client = await openClient(command);
    const events = client.events({ since });
    await events.subscribed();
    await print(tabwriter([["TIME", "TYPE", "ID", "PID", "STATUS"]], layout));
    for await (const { timestamp = epoch, type, id, pid, status } of events)
      await print(tabwriter([[formatTimestamp(timestamp), type, id, pid, String(status)]], layout));
  });
  return addExamples(command, "ctr events", "ctr events --timestamp 2016-11-05T10:21:00.123456789Z");
}
