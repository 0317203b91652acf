import { Command } from "commander";
import { addExamples } from "../command-line/example.js";
import { hintFor } from "../command-line/unknown-command.js";
import { addOutputFlags } from "../output/output-flags.js";
import { containersExecCommand } from "./exec.js";
import { containersKillCommand } from "./kill.js";
import { containersListCommand, listContainers } from "./list.js";
import { containersPauseCommand } from "./pause.js";
import { containersResumeCommand } from "./resume.js";
import { containersStartCommand } from "./start.js";
import { containersStateCommand } from "./state.js";
import { containersStatsCommand } from "./stats.js";
import { containersUpdateCommand } from "./update.js";
import { containersWatchCommand } from "./watch.js";

export function containersCommand(): Command {
  const command = new Command("containers")
    .description("work with containers; without a command: list them")
    .argument("[id]", "list only this one")
    .enablePositionalOptions();
  addOutputFlags(command, "ids");
  for (const subcommand of [
    containersExecCommand(),
    containersKillCommand(),
    containersListCommand(),
    containersPauseCommand(),
    containersResumeCommand(),
    containersStartCommand(),
    containersStateCommand(),
    containersStatsCommand(),
    containersUpdateCommand(),
    containersWatchCommand(),
  ])
    command.addCommand(subcommand);
  command.action(async (id: string | undefined) => {
    try {
      await listContainers(command, id);
    } catch (error) {
      // A mistyped command looks like an id.
      if (!id || !(error as { isNotFound?: boolean }).isNotFound) throw error;
      const hint = hintFor(id);
      throw new Error(
        `${(error as Error).message}: "${id}" is neither a command nor a container${hint ? `; ${hint}` : ""}`,
        { cause: error },
      );
    }
  });
  command.allowExcessArguments(true);
  return addExamples(command, "ctr containers", "ctr containers start --attach web /bundles/web");
}
