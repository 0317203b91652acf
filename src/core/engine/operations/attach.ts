import { readFileSync, statSync, writeFileSync } from "node:fs";
import { hostname as hostnameOfMachine } from "node:os";
import { hasCode } from "../../../system/linux/libc.js";
import { Failure, refusal } from "../../failure/failure.js";
import type { Network, Publication } from "../../network/network.js";
import { bundleIn } from "../../tasks/task.js";
import type { ContainerConfig, NetworkAttachment } from "../container-config.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { type KeptContainer, keptOf, withKept } from "../kept-container.js";
import { hostnameOf } from "../spec/build-spec.js";
import { ownLines, resolvConf } from "../spec/container-files.js";
import { checkAttachment } from "../spec/network-wishes.js";
import { keep } from "./keeping.js";
import { ownFiles } from "./plan.js";
import { requireThere } from "./remove.js";
import { statusOf } from "./running.js";

/**
 * Puts a container on one more network, at once when it runs.
 * @throws Failure: not-found for the network, already-exists, invalid-argument and failed-precondition for an address; it is as it was then
 */
export async function connect(
  engine: Engine,
  container: EngineContainer,
  attachment: NetworkAttachment,
): Promise<Network> {
  checkAttachment("attachment", attachment);
  return await engine.inTurn(container, async () => {
    requireThere(container);
    const { networks } = engine;
    const kept = await keptNow(engine, container);
    const { network: mode } = kept.config;
    if (mode.mode !== "attached" && mode.mode !== "none") {
      const why = `container ${JSON.stringify(container.id)} has network "${mode.mode}": it can't be on others`;
      throw new Failure("failed-precondition", "refused", { why });
    }
    const init = runningInit(engine, container);
    const network = await networks.connect(container, kept.config, attachment, init !== undefined);
    try {
      const before = mode.mode === "attached" ? mode.networks : [];
      const config: ContainerConfig = {
        ...kept.config,
        network: { mode: "attached", networks: [...before, attachment] },
      };
      await keep(engine, container, { ...kept, config, attached: networks.placeOf(container)?.attached });
      if (init !== undefined) {
        await networks.enterMore(container, network, init);
        await keep(engine, container, { ...kept, config, attached: networks.placeOf(container)?.attached });
        await changeFiles(engine, container, config, before.length === 0);
      }
    } catch (error) {
      await networks.disconnect(container, network, init)();
      await keep(engine, container, kept);
      throw error;
    }
    return network;
  });
}

/**
 * Takes a container off a network, at once when it runs.
 * @throws Failure: not-found for the network, failed-precondition when it is not on it, or has its published ports there and on no other
 */
export async function disconnect(engine: Engine, container: EngineContainer, text: string): Promise<void> {
  await engine.inTurn(container, async () => {
    requireThere(container);
    const { networks } = engine;
    const network = await networks.records.find(container.namespace, text);
    const place = networks.placeOf(container);
    const index = place?.wishes.findIndex((wish) => wish.network.id === network?.id) ?? -1;
    if (network === undefined || place === undefined || index < 0) {
      const why = `container ${JSON.stringify(container.id)} is not on a network ${JSON.stringify(text.slice(0, 200))}`;
      throw new Failure(network === undefined ? "not-found" : "failed-precondition", "refused", { why });
    }
    const kept = await keptNow(engine, container);
    const endpoint = place.attached?.endpoints.find((one) => one.network === network.id);
    const attachments = kept.config.network.mode === "attached" ? kept.config.network.networks : [];
    const rest = attachments.filter((_, other) => other !== index);
    const config: ContainerConfig = {
      ...kept.config,
      network: rest.length === 0 ? { mode: "none" } : { mode: "attached", networks: rest },
    };
    if (rest.length === 0 && (config.ports?.length || config.publishAll))
      throw refusal(`container ${JSON.stringify(container.id)} publishes ports: it needs a network`);
    const init = runningInit(engine, container);
    const onHost = networks.disconnect(container, network, init);
    const attached = networks.placeOf(container)?.attached;
    await keep(engine, container, { ...kept, config, attached });
    await onHost();
    if (attached?.isRerouting)
      await keep(engine, container, { ...kept, config, attached: networks.placeOf(container)?.attached });
    if (endpoint !== undefined && init !== undefined)
      await changeFiles(engine, container, config, rest.length === 0, endpoint);
  });
}

/**
 * Hands the published ports of one container to another one in one step; both run.
 * @returns what the other one has published by now
 * @throws Failure (failed-precondition): everything is as it was then
 */
export async function movePorts(engine: Engine, from: EngineContainer, to: EngineContainer): Promise<Publication[]> {
  if (from === to) throw refusal(`from and to are the same container: ${from.id}`);
  // Two that go both ways do not wait for each other.
  const [first, second] = from.id < to.id ? [from, to] : [to, from];
  return await engine.inTurn(first, () =>
    engine.inTurn(second, async () => {
      requireThere(from);
      requireThere(to);
      const { networks } = engine;
      const [source, target] = await Promise.all([keptNow(engine, from), keptNow(engine, to)]);
      const { ports = [], publishAll } = source.config;
      const both = target.config.ports?.find((one) =>
        ports.some((other) => other.protocol === one.protocol && other.containerPort === one.containerPort),
      );
      if (both !== undefined || (publishAll && target.config.publishAll)) {
        const why = `container ${JSON.stringify(to.id)} has published port ${both?.containerPort ?? "all"} already`;
        throw new Failure("failed-precondition", "refused", { why });
      }
      const { onHost, back } = networks.movePorts(from, to);
      const { ports: _, publishAll: __, ...config } = source.config;
      const after = {
        source: { ...source, config, attached: networks.placeOf(from)!.attached },
        target: {
          ...target,
          config: {
            ...target.config,
            ports: [...(target.config.ports ?? []), ...ports],
            ...(publishAll && { publishAll }),
          },
          attached: networks.placeOf(to)!.attached,
        },
      };
      try {
        await keepTwo(engine, [from, after.source], [to, after.target]);
        await onHost();
      } catch (error) {
        back();
        await onHost().catch(() => {});
        await keepTwo(engine, [from, source], [to, target]);
        throw error;
      }
      return networks.placeOf(to)!.attached!.publications;
    }),
  );
}

async function keptNow(engine: Engine, { namespace, id }: EngineContainer): Promise<KeptContainer> {
  return keptOf(await engine.containers.getBrief(namespace, id))!;
}

async function keepTwo(
  engine: Engine,
  [one, keptOne]: [EngineContainer, KeptContainer],
  [other, keptOther]: [EngineContainer, KeptContainer],
): Promise<void> {
  await engine.containers.updateTwo(
    one.namespace,
    [one.id, (before) => ({ ...before, extensions: withKept(before.extensions, keptOne) })],
    [other.id, (before) => ({ ...before, extensions: withKept(before.extensions, keptOther) })],
  );
}

function runningInit(engine: Engine, container: EngineContainer) {
  const status = statusOf(engine, container);
  return status === "running" || status === "paused" ? engine.taskOf(container)!.init : undefined;
}

/** In bytes: what its container has made longer is left as it is. */
const LARGEST_HOSTS = 1 << 20;

/**
 * What a container's files say of its networks, of one that runs. They are changed where they are: the container has them mounted, and may
 * have written to them.
 * @param isOther whether it has another resolv.conf now
 * @param gone what it was called by
 */
async function changeFiles(
  engine: Engine,
  container: EngineContainer,
  config: ContainerConfig,
  isOther: boolean,
  gone?: { address: string; address6: string },
): Promise<void> {
  const files = ownFiles(bundleIn(engine.tasks.directoryOf(container)));
  const hostname = hostnameOf({ id: container.id, config, host: { hostname: hostnameOfMachine() } });
  try {
    if (statSync(files.hosts).size > LARGEST_HOSTS) return;
    const before = readFileSync(files.hosts, "utf8");
    const lost = new Set(gone === undefined ? [] : ownLines(gone, hostname, config.domainname));
    const kept = before.split("\n").filter((line) => line !== "" && !lost.has(line));
    const own = engine.networks.addressesOf(container).flatMap((place) => ownLines(place, hostname, config.domainname));
    const added = own.filter((line) => !kept.includes(line));
    writeFileSync(files.hosts, [...kept, ...added].map((line) => `${line}\n`).join(""));
    if (isOther) writeFileSync(files.resolvConf, await resolvConf(config, undefined));
  } catch (error) {
    // It has just ended.
    if (!hasCode(error, "ENOENT")) throw error;
  }
}
