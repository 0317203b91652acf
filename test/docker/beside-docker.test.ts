/** Networks of ours on a host where Docker has its own, whose rules forward nothing else; see docs/networks.md. */
import { expect, test } from "vitest";
import { hasDocker, image, startDockerHost } from "../harness/docker-host.js";
import { full } from "../harness/extent.js";
import { makeContainer, networkOf, startHostNetworks } from "../harness/host-networks.js";
import { makeNetworkNamespace, NetworkNamespace } from "../harness/network-namespace.js";
import { ask, serve } from "../harness/talk.js";

test.skipIf(!full || !hasDocker)("ours work beside Docker's, once Docker's rules let them through", async () => {
  await using docker = await startDockerHost();
  await using other = await makeNetworkNamespace();
  const host = new NetworkNamespace(docker.pid);
  await host.connect(other);
  await docker.docker("run", "--detach", "--publish=8000:80", image, "nc", "-ll", "-p", "80", "-e", "echo", "docker's");
  await using program = await startHostNetworks(host);
  // Docker's own is 172.17.0.0/16.
  await using container = await makeContainer(2, networkOf(1));
  await using neighbour = await makeContainer(3, container.endpoints[0]!.network);
  await program.start(container, container.publication(8080, 80));
  await program.start(neighbour);
  await Promise.all([serve(container.namespace, 80, "ours"), serve(other, 7000, "other")]);
  await docker.shell("iptables -I DOCKER-USER -i ctd-+ -j ACCEPT; iptables -I DOCKER-USER -o ctd-+ -j ACCEPT");
  const asked = await Promise.all([
    ask(other, "10.99.0.1", 8080),
    ask(host, "127.0.0.1", 8080),
    ask(neighbour.namespace, "10.1.0.2", 80),
    ask(neighbour.namespace, "10.99.0.1", 8080),
    ask(container.namespace, "10.99.0.1", 8080),
    ask(container.namespace, "10.99.0.2", 7000),
    ask(other, "10.99.0.1", 8000),
    ask(container.namespace, "10.99.0.1", 8000),
  ]);
  expect(asked).toEqual([
    "ours 10.99.0.2",
    "ours 10.1.0.1",
    "ours 10.1.0.3",
    "ours 10.1.0.1",
    "ours 10.1.0.1",
    "other 10.99.0.1",
    "docker's",
    "docker's",
  ]);
  await program.end(container);
  await program.end(neighbour);
  await program.nothingLeft();
  expect(await ask(other, "10.99.0.1", 8000)).toBe("docker's");
});
