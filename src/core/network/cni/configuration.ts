import { createHash } from "node:crypto";
import { join } from "node:path";
import { namesIn } from "../../../system/linux/directory-names.js";
import { errorText } from "../../../system/linux/libc.js";
import { readRegularFile } from "../../../system/linux/regular-file.js";
import { refusal } from "../../failure/failure.js";
import type { Network } from "../network.js";

/** A plugin's part of a configuration, as the file has it. */
export interface CniPlugin extends Readonly<Record<string, unknown>> {
  type: string;
}

/** A network that the system has configured: a list of plugins, one after the other. */
export interface CniNetwork {
  name: string;
  cniVersion: string;
  plugins: readonly CniPlugin[];
}

/** Of the specification, as far as plugins are called the same way. */
const VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0"];
const NAME = /^[a-zA-Z0-9][\w.-]*$/;
/** In bytes, of a file. */
const LARGEST = 1 << 20;

/** The files of a directory that may be configurations, in the order in which they count. */
async function filesOf(directory: string): Promise<string[]> {
  return (await namesIn(directory)).filter((name) => /\.(?:conflist|conf|json)$/.test(name)).sort();
}

/**
 * The network of that name: the first one of the directory's files, by their names.
 * @throws Failure (invalid-argument) when there is none, and a file that can't be read may be the one; or it is of another version
 */
export async function findCniNetwork(directory: string, name: string): Promise<CniNetwork | undefined> {
  const bad: string[] = [];
  for (const file of await filesOf(directory)) {
    const path = join(directory, file);
    let network: CniNetwork;
    try {
      network = parse(JSON.parse((await readRegularFile(path, LARGEST)).toString("utf8")));
    } catch (error) {
      bad.push(`${path}: ${errorText(error)}`);
      continue;
    }
    if (network.name !== name) continue;
    if (!VERSIONS.includes(network.cniVersion)) {
      const why = `${path} is of CNI ${JSON.stringify(network.cniVersion)}: it has to be one of ${VERSIONS.join(", ")}`;
      throw refusal(`network ${JSON.stringify(name)}: ${why}`);
    }
    return network;
  }
  if (bad.length > 0)
    throw refusal(`no network ${JSON.stringify(name)}, and what can't be read may be it: ${bad.join("; ")}`);
  return undefined;
}

/** Of a list (`.conflist`), or of one plugin (`.conf`). */
function parse(document: unknown): CniNetwork {
  if (!isObject(document)) throw new Error("no JSON object");
  const { name, cniVersion = "0.1.0", plugins } = document;
  if (typeof name !== "string" || !NAME.test(name)) throw new Error("no name");
  if (typeof cniVersion !== "string") throw new Error("no version");
  const list: unknown[] = Array.isArray(plugins) ? plugins : plugins === undefined ? [document] : [];
  if (list.length === 0) throw new Error("no plugins");
  for (const [index, plugin] of list.entries())
    if (!isObject(plugin) || typeof plugin.type !== "string" || !NAME.test(plugin.type))
      throw new Error(`plugin ${index + 1} has no type`);
  return { name, cniVersion, plugins: list as CniPlugin[] };
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether one of its plugins can be told that. */
export function hasCapability({ plugins }: CniNetwork, name: string): boolean {
  return plugins.some(({ capabilities }) => isObject(capabilities) && capabilities[name] === true);
}

/** As one of our own networks is told of: its addresses are its plugins' business. */
export function networkOf({ name }: Pick<CniNetwork, "name">): Network {
  return {
    ...{ namespace: "", id: createHash("sha256").update(`cni ${name}`).digest("hex"), name, driver: "cni", bridge: "" },
    ...{ subnet: "", gateway: "", subnet6: "", gateway6: "", internal: false, isolated: false, mtu: 0, labels: {} },
    createdAt: 0n,
  };
}
