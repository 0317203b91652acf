import type { Engine } from "../../core/engine/engine.js";
import type { EngineContainer } from "../../core/engine/engine-container.js";
import { connect, disconnect, movePorts } from "../../core/engine/operations/attach.js";
import { hasLabels } from "../../core/engine/operations/describe.js";
import { pruneNetworks, removeNetwork } from "../../core/engine/operations/remove-networks.js";
import { refusal } from "../../core/failure/failure.js";
import type { Network } from "../../core/network/network.js";
import { type NetworksServer, NetworksService } from "../../proto/containerdts/engine/v1/networks.js";
import type { GrpcService } from "../grpc/server.js";
import { EngineFront } from "./front.js";
import { egressMessage, endpointMessage, networkMessage, portMessage } from "./network-messages.js";
import { unimplemented } from "./unimplemented.js";

/**
 * The service of networks.
 * @param ready resolves once the tasks of an earlier daemon are known
 */
export function networksService(engine: Engine, ready: Promise<void>): GrpcService {
  const front = new EngineFront(engine, ready);
  const { networks } = engine;
  const message = (network: Network) => networkMessage(network, networks.usersOf(network.id));
  const tell = ({ namespace, id, name, labels }: Network, action: string, { id: container }: EngineContainer) =>
    engine.events.tell(namespace, id, { type: "network", action, name, labels, attributes: { container } });
  const implementation: Partial<NetworksServer> = {
    create: front.call(async ({ namespace, request }) => {
      return message(await networks.records.create(namespace, request));
    }),
    get: front.call(async ({ namespace, request }) => message(await networks.records.get(namespace, request.network))),
    list: front.call(async ({ namespace, request: { labels, names } }) => {
      const all = await networks.records.list(namespace);
      const some = all.filter((one) => hasLabels(one, labels) && (names.length === 0 || names.includes(one.name)));
      return { networks: some.map(message) };
    }),
    remove: front.call(async ({ namespace, request }) => {
      await removeNetwork(engine, namespace, request.network);
      return {};
    }),
    prune: front.call(async ({ namespace, request, signal }) => {
      return { names: await pruneNetworks(engine, namespace, request.labels, signal) };
    }),
    connect: front.call(async ({ namespace, request, signal }) => {
      if (request.attachment === undefined) throw refusal("connect: the network is not given");
      const container = await engine.find(namespace, request.container, signal);
      const connected = await connect(engine, container, request.attachment);
      const { id } = connected;
      tell(connected, "connect", container);
      const { wishes = [], attached } = networks.placeOf(container) ?? {};
      const wish = wishes.find(({ network }) => network.id === id);
      // It may have been taken off again.
      if (wish === undefined) throw refusal("connect: it was disconnected meanwhile");
      return endpointMessage(
        wish,
        attached?.endpoints.find(({ network }) => network === id),
      );
    }),
    disconnect: front.call(async ({ namespace, request, signal }) => {
      const container = await engine.find(namespace, request.container, signal);
      const network = await networks.records.find(namespace, request.network);
      await disconnect(engine, container, request.network);
      if (network !== undefined) tell(network, "disconnect", container);
      return {};
    }),
    movePorts: front.call(async ({ namespace, request, signal }) => {
      const from = await engine.find(namespace, request.from, signal);
      const to = await engine.find(namespace, request.to, signal);
      return { ports: (await movePorts(engine, from, to)).map(portMessage) };
    }),
    egress: front.call(async ({ namespace, request, signal }) => {
      const container = await engine.find(namespace, request.container, signal);
      return egressMessage(await networks.egressOf(container));
    }),
    repair: front.call(async () => ({ repaired: await networks.repair() })),
  };
  return {
    definition: NetworksService,
    implementation: { ...unimplemented(NetworksService), ...implementation } as NetworksServer,
  };
}
