import { Command } from "commander";
import { containersExecCommand } from "./containers-exec.js";
import { containersKillCommand } from "./containers-kill.js";
import { containersListCommand, listContainers } from "./containers-list.js";
import { containersPauseCommand } from "./containers-pause.js";
import { containersResumeCommand } from "./containers-resume.js";
import { containersStartCommand } from "./containers-start.js";
import { containersStateCommand } from "./containers-state.js";
import { containersStatsCommand } from "./containers-stats.js";
import { containersUpdateCommand } from "./containers-update.js";
import { containersWatchCommand } from "./containers-watch.js";
import { addExamples } from "./example.js";
import { addOutputFlags } from "./output-flags.js";
import { hintFor } from "./unknown-command.js";

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
