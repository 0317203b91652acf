import { Command } from "commander";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { addOutputFlags, outputFlags, printJsonLines, printNames } from "../output/output-flags.js";
import { print } from "../output/print.js";
import { tabwriter } from "../output/tabwriter.js";

export function leasesCommand(): Command {
  const command = new Command("leases")
    .description("look at what keeps content that nothing else needs")
    .enablePositionalOptions();
  for (const subcommand of [listCommand(), removeCommand()]) command.addCommand(subcommand);
  return addExamples(command, "ctr leases ls");
}

function listCommand(): Command {
  const command = new Command("ls").alias("list").description("list the leases");
  addOutputFlags(command, "ids");
  command.action(async () => {
    const { json, quiet } = outputFlags(command);
    const client = await openClient(command);
    const { leases } = await client.v1.leases.list();
    if (quiet) return await printNames(leases.map(({ id }) => id));
    const rows: { id: string; createdAt: string; labels: Record<string, string>; resources: string[] }[] = [];
    for (const { id, createdAt, labels } of leases) {
      const { resources } = await client.v1.leases.listResources({ id });
      const time = new Date(Number(createdAt?.seconds ?? 0n) * 1000).toISOString().replace(".000Z", "Z");
      rows.push({ id, createdAt: time, labels, resources: resources.map(({ type, id }) => `${type} ${id}`) });
    }
    if (json) return await printJsonLines(rows);
    const lines = rows.map(({ id, createdAt, labels, resources }) => [
      id,
      createdAt,
      `${resources.length}`,
      Object.entries(labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(","),
    ]);
    await print(tabwriter([["ID", "CREATED", "RESOURCES", "LABELS"], ...lines], { minWidth: 1, padding: 3 }));
  });
  return addExamples(command, "ctr leases ls");
}

function removeCommand(): Command {
  const command = new Command("rm")
    .aliases(["remove", "delete"])
    .description("remove leases; what nothing else needs goes after them")
    .argument("[lease...]", "their ids")
    .option("--sync", "wait until that has gone");
  command.action(async (ids: string[], { sync = false }: { sync?: boolean }) => {
    required(ids[0], "lease", command);
    const client = await openClient(command);
    for (const id of ids) await client.v1.leases.delete({ id, sync });
  });
  return addExamples(command, "ctr leases rm 582834962-EOjq");
}
