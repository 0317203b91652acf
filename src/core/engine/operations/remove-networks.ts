import { Failure } from "../../failure/failure.js";
import type { Network } from "../../network/network.js";
import { BRIDGE, noNetwork } from "../../network/networks.js";
import type { Engine } from "../engine.js";
import { hasLabels } from "./describe.js";

/** @throws Failure: not-found, failed-precondition while a container is to be on it, whether that runs or not */
export async function removeNetwork(engine: Engine, namespace: string, text: string): Promise<void> {
  const network = await engine.networks.records.find(namespace, text);
  if (network === undefined) throw noNetwork({ namespace, name: text });
  await removeUnused(engine, network);
}

/**
 * Removes those of a namespace that no container is to be on, but "bridge".
 * @param labels as of a list
 * @returns their names
 */
export async function pruneNetworks(
  engine: Engine,
  namespace: string,
  labels: readonly string[],
  signal: AbortSignal,
): Promise<string[]> {
  const names: string[] = [];
  for (const network of await engine.networks.records.list(namespace)) {
    signal.throwIfAborted();
    if (network.name === BRIDGE || !hasLabels(network, labels)) continue;
    try {
      await removeUnused(engine, network);
      names.push(network.name);
    } catch (error) {
      // It is used, or has gone by now.
      if (!(error instanceof Failure && ["not-found", "failed-precondition"].includes(error.kind))) throw error;
    }
  }
  return names;
}

async function removeUnused(engine: Engine, { namespace, id, name }: Network): Promise<void> {
  const { networks } = engine;
  await networks.records.remove(namespace, id, () => {
    const users = networks.usersOf(id);
    if (users.length === 0) return;
    const [first, ...more] = users.map(({ container }) => JSON.stringify(container.name || container.id));
    const others = more.length === 0 ? "" : `, and ${more.length} more`;
    const why = `network ${JSON.stringify(name)} is used by container ${first}${others}: disconnect it, or remove it, first`;
    throw new Failure("failed-precondition", "refused", { why });
  });
  networks.addresses.forget({ id });
}
