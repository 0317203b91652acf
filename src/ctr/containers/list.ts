import { Command } from "commander";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { goJson } from "../output/go-json.js";
import { addOutputFlags, outputFlags, printNames } from "../output/output-flags.js";
import { print } from "../output/print.js";
import { LIST_LAYOUT, tabwriter } from "../output/tabwriter.js";

export function containersListCommand(): Command {
  const command = new Command("list")
    .alias("ls")
    .description("list the containers that run")
    .argument("[id]", "only this one");
  addOutputFlags(command, "ids");
  command.action((id: string | undefined) => listContainers(command, id));
  return addExamples(command, "ctr containers list", "ctr containers list --quiet");
}

/** Also what `ctr containers` does without a command. */
export async function listContainers(command: Command, id = ""): Promise<void> {
  const { json, quiet } = outputFlags(command);
  const client = await openClient(command);
  const { containers } = await client.v0.api.state({ id });
  containers.sort((a, b) => (a.id < b.id ? -1 : 1));
  if (quiet) return await printNames(containers.map((task) => task.id));
  if (json) return await print(containers.map((task) => `${goJson(task)}\n`).join(""));
  const rows = containers.map(({ id, bundlePath, status, processes }) => [
    id,
    bundlePath,
    status,
    processes.map(({ pid }) => pid).join(","),
  ]);
  await print(tabwriter([["ID", "PATH", "STATUS", "PROCESSES"], ...rows], LIST_LAYOUT));
}
