import { Command } from "commander";
import type { Client } from "../../client/index.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { bytes } from "../output/bytes.js";
import { addOutputFlags, outputFlags, printJsonLines, printNames } from "../output/output-flags.js";
import { print } from "../output/print.js";
import { tabwriter } from "../output/tabwriter.js";
import { drawTree } from "./tree.js";

const SNAPSHOTTER = "overlayfs";
const LAYOUT = { minWidth: 1, padding: 3 };
const KINDS = ["unknown", "view", "active", "committed"];

export function snapshotsCommand(): Command {
  const command = new Command("snapshots")
    .description("look at what containers' files are stacked of")
    .enablePositionalOptions();
  for (const subcommand of [listCommand(), usageCommand(), treeCommand()]) command.addCommand(subcommand);
  return addExamples(command, "ctr snapshots ls", "ctr snapshots tree");
}

export interface Snapshot {
  name: string;
  /** "": none. */
  parent: string;
  kind: string;
}

async function snapshotsOf(client: Client): Promise<Snapshot[]> {
  const snapshots: Snapshot[] = [];
  for await (const { info } of await client.v1.snapshots.list({ snapshotter: SNAPSHOTTER }))
    for (const { name, parent, kind } of info) snapshots.push({ name, parent, kind: KINDS[kind] ?? "unknown" });
  return snapshots.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function listCommand(): Command {
  const command = new Command("ls").alias("list").description("list the snapshots");
  addOutputFlags(command, "names");
  command.action(async () => {
    const { json, quiet } = outputFlags(command);
    const snapshots = await snapshotsOf(await openClient(command));
    if (quiet) return await printNames(snapshots.map(({ name }) => name));
    if (json) return await printJsonLines(snapshots);
    const rows = snapshots.map(({ name, parent, kind }) => [name, parent, kind]);
    await print(tabwriter([["NAME", "PARENT", "KIND"], ...rows], LAYOUT));
  });
  return addExamples(command, "ctr snapshots ls");
}

function usageCommand(): Command {
  const command = new Command("usage")
    .description("show how much room snapshots take, each without those below it")
    .argument("[name...]", "only these");
  command.option("--json", "print JSON, one object a line");
  command.action(async (names: string[], { json }: { json?: boolean }) => {
    const client = await openClient(command);
    const keys = names.length > 0 ? names : (await snapshotsOf(client)).map(({ name }) => name);
    const usages: { name: string; size: number; inodes: number }[] = [];
    for (const name of keys) {
      const { size, inodes } = await client.v1.snapshots.usage({ snapshotter: SNAPSHOTTER, key: name });
      usages.push({ name, size: Number(size), inodes: Number(inodes) });
    }
    if (json) return await printJsonLines(usages);
    const rows = usages.map(({ name, size, inodes }) => [name, bytes(size), `${inodes}`]);
    await print(tabwriter([["NAME", "SIZE", "INODES"], ...rows], LAYOUT));
  });
  return addExamples(command, "ctr snapshots usage");
}

function treeCommand(): Command {
  const command = new Command("tree").description("show which snapshot is on which");
  command.action(async () => {
    await print(drawTree(await snapshotsOf(await openClient(command))));
  });
  return addExamples(command, "ctr snapshots tree");
}
