/** What a daemon's networks have left, or lack, in the network namespace that the daemon is in. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { bridgeName, deviceName } from "../../src/core/network/device-names.js";
import type { NetworkNamespace } from "./network-namespace.js";
import type { ApiV1 } from "./v1.js";
import { eventually } from "./wait.js";

/** What our devices are called. */
const OURS = /^ct[dv]-?[0-9a-f]+$/;

/** Waits until nothing of any network is there: no device, no table of rules, no process that holds ports or answers names. */
export async function expectNoNetworks(namespace: NetworkNamespace): Promise<void> {
  await eventually(async () => {
    const left = await whatIsLeft(namespace);
    if (left.length > 0) throw new Error(`left of networks: ${left.join("; ")}`);
    return true;
  });
}

async function whatIsLeft(namespace: NetworkNamespace): Promise<string[]> {
  const devices = (await namespace.devices()).filter((name) => OURS.test(name));
  const tables = (await namespace.shell("nft list tables"))
    .split("\n")
    .filter((line) => line.includes("containerd-ts-"));
  const own = readlinkSync(namespace.path);
  const keepers = readdirSync("/proc").filter((pid) => {
    try {
      return readlinkSync(`/proc/${pid}/ns/net`) === own && readFileSync(`/proc/${pid}/comm`, "utf8").includes("-netd");
    } catch {
      return false;
    }
  });
  return [
    ...devices.map((name) => `device ${name}`),
    ...tables,
    ...keepers.map((pid) => `process ${pid}, which keeps ports and names`),
  ];
}

/** Waits until there are exactly the devices that the containers which run need, and no address of any other in the rules. */
export async function expectNetworksOf(namespace: NetworkNamespace, api: ApiV1, name = "default"): Promise<void> {
  await eventually(async () => {
    const { containers } = await api.engine.list({ statuses: ["running", "paused"] });
    const wanted = new Set<string>();
    const addresses = new Set<string>();
    for (const { id, endpoints } of containers)
      for (const { networkId, address } of endpoints) {
        wanted.add(bridgeName(networkId)).add(deviceName(name, id, networkId));
        addresses.add(address.replace(/\/.*/, ""));
      }
    const found = (await namespace.devices()).filter((device) => OURS.test(device));
    const rules = await namespace.shell("nft list ruleset");
    const { networks } = await api.networks.list({});
    const others = networks
      .flatMap(({ subnet, gateway }) => [subnet.replace(/\/.*/, ""), gateway])
      .concat("0.0.0.0", "127.0.0.0", "255.255.255.255");
    const strange = [...rules.matchAll(/\b(?:\d{1,3}\.){3}\d{1,3}\b/g)]
      .map(([address]) => address)
      .filter((address) => isOfNetworks(address, networks) && !addresses.has(address) && !others.includes(address));
    const wrong = [
      ...found.filter((device) => !wanted.has(device)).map((device) => `device ${device} is left`),
      ...[...wanted].filter((device) => !found.includes(device)).map((device) => `device ${device} is missing`),
      ...[...new Set(strange)].map((address) => `address ${address} is left in the rules`),
    ];
    if (wrong.length > 0) throw new Error(wrong.join("; "));
    return true;
  });
}

function isOfNetworks(address: string, networks: readonly { subnet: string }[]): boolean {
  const value = (text: string) => text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  return networks.some(({ subnet }) => {
    const [first = "", length = "32"] = subnet.split("/");
    const size = 2 ** (32 - Number(length));
    return Math.floor(value(address) / size) === Math.floor(value(first) / size);
  });
}
