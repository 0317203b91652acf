import { Command } from "commander";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { printEventJson } from "../events-command.js";

export function containersWatchCommand(): Command {
  const command = new Command("watch")
    .description("print events as they happen, as JSON, one a line")
    .argument("[id]", "only this container's");
  command.action(async (id = "") => {
    const client = await openClient(command);
    const events = client.v0.events({ id });
    // An id that is not there is an error, not a long wait.
    if (id !== "") await client.v0.api.state({ id });
    for await (const event of events) await printEventJson(event);
  });
  return addExamples(command, "ctr containers watch web");
}
