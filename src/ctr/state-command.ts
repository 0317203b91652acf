import { Command } from "commander";
import { addExamples } from "./command-line/example.js";
import { printState } from "./containers/print-state.js";

export function stateCommand(): Command {
  const command = new Command("state")
    .description("print all that the daemon knows of its containers, as JSON")
    .argument("[id]", "only this container");
  command.action((id: string | undefined) => printState(command, id));
  return addExamples(command, "ctr state | jq .machine");
}
