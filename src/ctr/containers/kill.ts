import { Command } from "commander";
import { signalNumber } from "../../contract/signals.js";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";

export function containersKillCommand(): Command {
  const command = new Command("kill")
    .description("send a signal to a process of a container")
    .usage("[flags] ID")
    .argument("[id]", "the container")
    .option("-s, --signal <signal>", "name or number: KILL, SIGKILL, 9", "15")
    .option("-p, --pid <name>", "name of the process", "init");
  command.action(async (id: string | undefined, flags: { signal: string; pid: string }) => {
    const container = required(id, "container id", command);
    const signal = signalNumber(flags.signal);
    const client = await openClient(command);
    await client.v0.api.signal({ id: container, pid: flags.pid, signal });
  });
  return addExamples(command, "ctr containers kill --signal KILL web", "ctr containers kill --pid shell -s HUP web");
}
