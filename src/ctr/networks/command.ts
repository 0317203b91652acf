import { Command, InvalidArgumentError } from "commander";
import type { NetworkInfo } from "../../client/index.js";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { addOutputFlags, outputFlags, printJsonLines, printNames } from "../output/output-flags.js";
import { print } from "../output/print.js";
import { tabwriter } from "../output/tabwriter.js";

const LAYOUT = { minWidth: 1, padding: 3 };

export function networksCommand(): Command {
  const command = new Command("networks").description("networks of the engine's containers").enablePositionalOptions();
  for (const subcommand of [
    connectCommand(),
    createCommand(),
    disconnectCommand(),
    inspectCommand(),
    listCommand(),
    pruneCommand(),
    removeCommand(),
    repairCommand(),
  ])
    command.addCommand(subcommand);
  return addExamples(command, "ctr networks create shop", "ctr run -d --name web --network shop -p 8080:80 nginx");
}

function listCommand(): Command {
  const command = new Command("ls").alias("list").description("list the networks");
  command.option("-f, --filter <label...>", "only those with a label, label=NAME or label=NAME=VALUE; repeatable");
  addOutputFlags(command, "names");
  command.action(async ({ filter = [] }: { filter?: string[] }) => {
    const { json, quiet } = outputFlags(command);
    const client = await openClient(command);
    const networks = await client.networks.list({ labels: filter.map(labelOf) });
    if (quiet) return await printNames(networks.map(({ name }) => name));
    if (json) return await printJsonLines(networks);
    const rows = networks.map((network) => [
      network.name,
      network.id.slice(0, 12),
      network.driver,
      [network.subnet, network.subnet6].filter(Boolean).join(",") || "-",
      kindOf(network),
      String(network.containers.length),
    ]);
    await print(tabwriter([["NAME", "ID", "DRIVER", "SUBNET", "KIND", "CONTAINERS"], ...rows], LAYOUT));
  });
  return addExamples(command, "ctr networks ls", "ctr networks ls --filter label=tier=web");
}

function kindOf({ internal, isolated }: NetworkInfo): string {
  return [internal ? "internal" : "", isolated ? "isolated" : ""].filter(Boolean).join(",") || "-";
}

function labelOf(filter: string): string {
  const label = /^label=(.+)$/s.exec(filter)?.[1];
  if (label === undefined) throw new Error(`--filter "${filter}" has to be label=NAME or label=NAME=VALUE`);
  return label;
}

interface CreateFlags {
  subnet?: string;
  gateway?: string;
  ipv6?: boolean;
  subnet6?: string;
  gateway6?: string;
  internal?: boolean;
  isolated?: boolean;
  label?: string[];
  mtu?: number;
}

function createCommand(): Command {
  const command = new Command("create")
    .description("make a network, whose containers find each other by name")
    .usage("[flags] NETWORK")
    .argument("[network]", "its name")
    .option("--subnet <subnet>", "10.1.0.0/16 (default: one that the host does not use)")
    .option("--gateway <address>", "the host's address on it (default: the first of the subnet)")
    .option("--ipv6", "with IPv6, too")
    .option("--subnet6 <subnet>", "fd00:1::/64 (default: one of fd00::/8)")
    .option("--gateway6 <address>", "the host's IPv6 address on it")
    .option("--internal", "without a way out of the host")
    .option("--isolated", "its containers can't reach each other")
    .option("-l, --label <label...>", "a label NAME=value; repeatable")
    .option("--mtu <bytes>", "of its devices (default: 1500)", (text) => {
      if (!/^\d+$/.test(text)) throw new InvalidArgumentError("It must be a number of bytes.");
      return Number(text);
    });
  command.action(async (network: string | undefined, { label = [], ...wanted }: CreateFlags) => {
    const name = required(network, "network", command);
    const labels = Object.fromEntries(label.map((text) => [text.split("=")[0], text.split("=").slice(1).join("=")]));
    const client = await openClient(command);
    const { id } = await client.networks.create({ name, ...wanted, labels });
    await print(`${id}\n`);
  });
  return addExamples(
    command,
    "ctr networks create shop",
    "ctr networks create --internal --subnet 10.7.0.0/24 backend",
  );
}

function removeCommand(): Command {
  const command = new Command("rm")
    .aliases(["remove", "delete"])
    .description("remove networks that no container is attached to")
    .usage("NETWORK...")
    .argument("[network...]", "names or ids");
  command.action(async (networks: string[]) => {
    required(networks[0], "network", command);
    const client = await openClient(command);
    const failures: unknown[] = [];
    for (const network of networks)
      await client.networks.remove(network).catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  });
  return addExamples(command, "ctr networks rm shop");
}

function inspectCommand(): Command {
  const command = new Command("inspect")
    .description("print all that is known of a network, as JSON")
    .usage("NETWORK...")
    .argument("[network...]", "names or ids");
  command.action(async (networks: string[]) => {
    required(networks[0], "network", command);
    const client = await openClient(command);
    for (const network of networks) await printJsonLines([await client.networks.get(network)]);
  });
  return addExamples(command, "ctr networks inspect shop");
}

interface ConnectFlags {
  alias?: string[];
  ip?: string;
  ip6?: string;
  macAddress?: string;
}

function connectCommand(): Command {
  const command = new Command("connect")
    .description("attach a container to one more network, also while it runs")
    .usage("[flags] NETWORK CONTAINER")
    .argument("[network]", "its name or id")
    .argument("[container]", "its id, the beginning of that, or its name")
    .option("--alias <name...>", "by which others on the network find it; repeatable")
    .option("--ip <address>", "its address there (default: a free one)")
    .option("--ip6 <address>", "its IPv6 address there")
    .option("--mac-address <address>", "(default: made of its address)");
  command.action(async (network: string | undefined, container: string | undefined, flags: ConnectFlags) => {
    const { alias: aliases, ip: address, ip6: address6, macAddress: mac } = flags;
    const [to, of] = [required(network, "network", command), required(container, "container", command)];
    const client = await openClient(command);
    await client.networks.connect(to, of, { aliases, address, address6, mac });
  });
  return addExamples(command, "ctr networks connect --alias db backend postgres");
}

function disconnectCommand(): Command {
  const command = new Command("disconnect")
    .description("take a container off a network")
    .usage("NETWORK CONTAINER")
    .argument("[network]", "its name or id")
    .argument("[container]", "its id, the beginning of that, or its name");
  command.action(async (network: string | undefined, container: string | undefined) => {
    const [from, of] = [required(network, "network", command), required(container, "container", command)];
    const client = await openClient(command);
    await client.networks.disconnect(from, of);
  });
  return addExamples(command, "ctr networks disconnect backend postgres");
}

function pruneCommand(): Command {
  const command = new Command("prune").description("remove the networks that no container is attached to");
  command.action(async () => {
    const client = await openClient(command);
    await printNames(await client.networks.prune());
  });
  return addExamples(command, "ctr networks prune");
}

function repairCommand(): Command {
  const command = new Command("repair").description(
    "have the host's devices and firewall rules as they are to be, and print what was not so",
  );
  command.action(async () => {
    const client = await openClient(command);
    await printNames(await client.networks.repair());
  });
  return addExamples(command, "ctr networks repair");
}
