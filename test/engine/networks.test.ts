/** Containers on networks: the one path through all of it. The daemon is in a network namespace of the test's own. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { expectNetworksOf, expectNoNetworks } from "../harness/check-networks.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { type Config, importImage, NO_STDIO, newId, requestFor, runToEnd, texts } from "../harness/engine.js";
import { makeNetworkNamespace, type NetworkNamespace } from "../harness/network-namespace.js";
import { type ApiV1, refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

let host: NetworkNamespace;
let outside: NetworkNamespace;
let daemon: TestDaemon;
let api: ApiV1;

beforeAll(async () => {
  [host, outside] = await Promise.all([makeNetworkNamespace(), makeNetworkNamespace()]);
  await host.connect(outside);
  daemon = await startDaemon({ wrapper: host.enter() });
  api = daemon.v1();
  await importImage(daemon);
});

afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
  await host?.[Symbol.asyncDispose]();
  await outside?.[Symbol.asyncDispose]();
});

const on = (network: string) => ({ network, aliases: [], address: "", address6: "", mac: "" });
const port = { protocol: "tcp", containerPort: 80, hostAddress: "", hostPort: 8080, hostPortEnd: 0 };
const serving = (config: Config = {}): Config => ({
  args: texts("httpd", "-f", "-p", "80", "-h", "/etc"),
  networks: [on("bridge")],
  ...config,
});

async function running(name: string, config: Config): Promise<string> {
  const id = newId(daemon);
  await api.engine.run({ create: requestFor({ id, name, config }), stdio: NO_STDIO });
  return id;
}

/** What a server says is its name. A static busybox crashes in its wget, which looks for the port of http. */
const asking = (address: string, port: number) => [
  ...[
    "busybox",
    "sh",
    "-c",
    `printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 10 ${address} ${port} | busybox tail -n 1`,
  ],
];

test("two containers on a network reach each other and the outside, a published port is reached from there, nothing is left", async () => {
  const web = await running("web", serving({ ports: [port] }));
  const { endpoints, ports } = await api.engine.get({ id: "web" });
  expect(endpoints).toMatchObject([{ network: "bridge", device: "eth0", gateway: "172.17.0.1" }]);
  expect(endpoints[0]!.address).toBe("172.17.0.2/16");
  expect(endpoints[0]!.mac).toBe("02:42:ac:11:00:02");
  expect(ports).toEqual([{ protocol: "tcp", containerPort: 80, hostAddress: "0.0.0.0", hostPort: 8080 }]);
  await expectNetworksOf(host, api);

  const name = `${web.slice(0, 12)}\n`;
  const asked = await eventually(async () => {
    const { stdout, stderr, exit } = await runToEnd(daemon, asking("172.17.0.2", 80), { networks: [on("bridge")] });
    if (exit.status !== 0 || stdout === "") throw new Error(stderr);
    return stdout;
  });
  expect(asked).toBe(name);
  const named = await runToEnd(daemon, ["nslookup", "-type=a", "web"], { networks: [on("bridge")] });
  expect(named.stdout, named.stderr).toMatch(/Name:\s+web\nAddress: 172\.17\.0\.2\n/);
  // The outside knows no way to a container's address.
  outside.spawn("busybox", "httpd", "-f", "-p", "81", "-h", "/etc");
  await eventually(async () => {
    const { exit, stdout, stderr } = await runToEnd(daemon, asking("10.99.0.2", 81), { networks: [on("bridge")] });
    if (exit.status !== 0 || stdout === "") throw new Error(stderr);
    return true;
  });
  expect(await outside.attempt(asking("10.99.0.1", 8080))).toMatchObject({ stdout: name });
  expect(await host.attempt(asking("127.0.0.1", 8080))).toMatchObject({ stdout: name });

  const other = { create: requestFor({ id: newId(daemon), config: serving({ ports: [port] }) }), stdio: NO_STDIO };
  expect(await refusal(api.engine.run(other))).toBe(
    'FAILED_PRECONDITION: port 0.0.0.0:8080/tcp of the host is taken: container "web" has published it',
  );
  expect(await refusal(api.networks.remove({ network: "bridge" }))).toContain('is used by container "web"');
  await api.engine.remove({ id: web, force: true });
  await expectNoNetworks(host);
  await api.networks.remove({ network: "bridge" });
});
