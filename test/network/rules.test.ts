/** Containers' networks on a host: who reaches whom, and what is left on the host behind them. */
import { expect, test } from "vitest";
import { makeContainer, networkOf, startHostNetworks } from "../harness/host-networks.js";
import { makeNetworkNamespace } from "../harness/network-namespace.js";
import { ask, serve } from "../harness/talk.js";

test("containers reach each other, the host, others behind it and published ports; the last one takes all of it along", async () => {
  await using host = await makeNetworkNamespace();
  await using other = await makeNetworkNamespace();
  await host.connect(other);
  await using program = await startHostNetworks(host);
  const network = networkOf(1);
  await using web = await makeContainer(2, network);
  await using client = await makeContainer(3, network);
  await program.start(web, web.publication(8080, 80));
  await program.start(client);
  await Promise.all([serve(web.namespace, 80, "web"), serve(host, 7000, "host"), serve(other, 7000, "other")]);

  const asked = await Promise.all([
    ask(client.namespace, web.address, 80),
    ask(client.namespace, "10.1.0.1", 7000),
    ask(client.namespace, "10.99.0.2", 7000),
    // The published port: from another machine, the host by each of its addresses, the neighbour, and the container itself.
    ask(other, "10.99.0.1", 8080),
    ask(host, "127.0.0.1", 8080),
    ask(host, "10.99.0.1", 8080),
    ask(client.namespace, "10.99.0.1", 8080),
    ask(web.namespace, "10.99.0.1", 8080),
  ]);
  expect(asked).toEqual([
    "web 10.1.0.3",
    "host 10.1.0.3",
    "other 10.99.0.1",
    "web 10.99.0.2",
    "web 10.1.0.1",
    "web 10.99.0.1",
    "web 10.1.0.1",
    "web 10.1.0.1",
  ]);

  await program.end(web);
  expect(await ask(other, "10.99.0.1", 8080)).toBe("failed: Connection refused");
  await program.end(client);
  await program.nothingLeft();
});
