/**
 * The host's part of networks without a daemon, for tests: started in a network namespace, it makes the calls of
 * core/network/host-networks.ts that come on stdin, a JSON object a line, and answers on stdout.
 */
import { createInterface } from "node:readline";
import { HostNetworks } from "../../src/core/network/host-networks.js";
import type { ContainerName, ContainerRules, Endpoint, Network } from "../../src/core/network/network.js";
import { networkNamespaceOf } from "../../src/system/network/network-namespace.js";

export interface Call {
  id: number;
  call: "prepare" | "enter" | "route" | "remove" | "publish" | "withdraw" | "move" | "restore" | "repair" | "nothing";
  pid?: number;
  endpoints?: Endpoint[];
  containers?: { container: ContainerName; rules: ContainerRules }[];
  networks?: Network[];
  isEnding?: boolean;
}

export type Answer =
  | { id: number; result: unknown }
  | { id: number; error: string; kind: string | undefined }
  | { event: "renewed" | "error"; text: string };

const say = (answer: Answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

const hosts = new HostNetworks({
  identity: () => Promise.resolve(process.argv[2]!),
  onError: (error) => say({ event: "error", text: `${error}` }),
  onRenewed: () => say({ event: "renewed", text: "" }),
});

async function answer({
  call,
  pid,
  endpoints = [],
  containers = [],
  networks = [],
  isEnding = false,
}: Call): Promise<unknown> {
  const [first, second] = containers;
  switch (call) {
    case "prepare":
      return await hosts.prepare(endpoints);
    case "enter": {
      using namespace = networkNamespaceOf(pid!);
      return await hosts.enter(namespace.fd, endpoints);
    }
    case "route": {
      using namespace = networkNamespaceOf(pid!);
      return await hosts.route(namespace.fd, endpoints[0]!);
    }
    case "remove":
      return await hosts.remove(endpoints, { isEnding });
    case "publish":
      return await hosts.publish(first!.container, first!.rules);
    case "withdraw":
      return await hosts.withdraw(first!.container);
    case "move":
      return await hosts.move(first!.container, first!.rules, second!.container, second!.rules);
    case "restore":
      return await hosts.restore({
        networks,
        containers: new Map(containers.map(({ container, rules }) => [container, rules])),
      });
    case "repair":
      return await hosts.repair();
    case "nothing":
      return undefined;
  }
}

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const call = JSON.parse(line) as Call;
  try {
    say({ id: call.id, result: (await answer(call)) ?? null });
  } catch (error) {
    say({ id: call.id, error: (error as Error).message, kind: (error as { kind?: string }).kind });
  }
});
lines.on("close", async () => {
  await hosts.close();
  process.exit(0);
});
