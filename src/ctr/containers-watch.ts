import { Command } from "commander";
import type { wire } from "../client/index.js";
import { addExamples } from "./example.js";
import { openClient } from "./global-flags.js";
import { print } from "./print.js";

export function containersWatchCommand(): Command {
  const command = new Command("watch")
    .description("print events as they happen, one Go literal a line")
    .argument("[id]", "only this container's");
  command.action(async (id = "") => {
    const client = await openClient(command);
    const events = client.events({ id });
    // An id that is not there is an error, not a long wait.
    if (id !== "") await client.api.state({ id });
    for await (const event of events) await print(`${goLiteral(event)}\n`);
  });
  return addExamples(command, "ctr containers watch web");
}

/** As Go's %#v shows the original's struct; the timestamp by its value, where Go shows only the address of one. */
function goLiteral({ type, id, status, pid, timestamp }: wire.Event): string {
  const time = timestamp
    ? `&timestamp.Timestamp{Seconds:${timestamp.seconds}, Nanos:${timestamp.nanos}}`
    : "(*timestamp.Timestamp)(nil)";
  const [goType, goId, goPid] = [type, id, pid].map((text) => JSON.stringify(text));
  return `&types.Event{Type:${goType}, Id:${goId}, Status:0x${status.toString(16)}, Pid:${goPid}, Timestamp:${time}}`;
}
