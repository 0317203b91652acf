import { Command } from "commander";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { bytes } from "../output/bytes.js";
import { addOutputFlags, outputFlags, printJsonLines, printNames } from "../output/output-flags.js";
import { print } from "../output/print.js";
import { tabwriter } from "../output/tabwriter.js";

const LAYOUT = { minWidth: 1, padding: 3 };

export function volumesCommand(): Command {
  const command = new Command("volumes").description("directories that outlive the engine's containers");
  command.enablePositionalOptions();
  for (const subcommand of [createCommand(), inspectCommand(), listCommand(), pruneCommand(), removeCommand()])
    command.addCommand(subcommand);
  return addExamples(command, "ctr volumes create db", "ctr run -d --name db -v db:/var/lib/postgresql/data postgres");
}

function listCommand(): Command {
  const command = new Command("ls").alias("list").description("list the volumes");
  command.option("--dangling", "only those that no container has");
  addOutputFlags(command, "names");
  command.action(async ({ dangling }: { dangling?: boolean }) => {
    const { json, quiet } = outputFlags(command);
    const client = await openClient(command);
    const volumes = await client.volumes.list(dangling ? { used: false } : {});
    if (quiet) return await printNames(volumes.map(({ name }) => name));
    if (json) return await printJsonLines(volumes);
    const rows = volumes.map(({ name, containers, createdAt }) => [
      name,
      String(containers.length),
      createdAt?.toISOString().replace(/\.\d+Z$/, "Z") ?? "-",
    ]);
    await print(tabwriter([["NAME", "CONTAINERS", "CREATED"], ...rows], LAYOUT));
  });
  return addExamples(command, "ctr volumes ls", "ctr volumes ls --dangling --quiet");
}

function createCommand(): Command {
  const command = new Command("create")
    .description("make a volume, and print its name")
    .usage("[flags] [VOLUME]")
    .argument("[volume]", "its name (default: one that is made up)")
    .option("-l, --label <label...>", "a label NAME=value; repeatable");
  command.action(async (name: string | undefined, { label = [] }: { label?: string[] }) => {
    const labels = Object.fromEntries(label.map((text) => [text.split("=")[0], text.split("=").slice(1).join("=")]));
    const client = await openClient(command);
    await printNames([(await client.volumes.create({ name, labels })).name]);
  });
  return addExamples(command, "ctr volumes create --label app=shop db");
}

function inspectCommand(): Command {
  const command = new Command("inspect")
    .description("print all that is known of a volume, with its size in bytes, as JSON")
    .usage("VOLUME...")
    .argument("[volume...]", "names");
  command.action(async (volumes: string[]) => {
    required(volumes[0], "volume", command);
    const client = await openClient(command);
    for (const volume of volumes) await printJsonLines([await client.volumes.get(volume, { size: true })]);
  });
  return addExamples(command, "ctr volumes inspect db");
}

function removeCommand(): Command {
  const command = new Command("rm")
    .aliases(["remove", "delete"])
    .description("remove volumes that no container has, with their files")
    .usage("VOLUME...")
    .argument("[volume...]", "names");
  command.action(async (volumes: string[]) => {
    required(volumes[0], "volume", command);
    const client = await openClient(command);
    const failures: unknown[] = [];
    for (const volume of volumes) await client.volumes.remove(volume).catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  });
  return addExamples(command, "ctr volumes rm db");
}

function pruneCommand(): Command {
  const command = new Command("prune")
    .description("remove the volumes without a name that no container has")
    .option("-a, --all", "those with a name, too");
  command.action(async ({ all = false }: { all?: boolean }) => {
    const client = await openClient(command);
    const { names, freed } = await client.volumes.prune({ all });
    await printNames(names);
    await print(`freed ${bytes(freed)}\n`);
  });
  return addExamples(command, "ctr volumes prune");
}
