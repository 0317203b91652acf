/** ctr's commands about networks and volumes, and what runs on them, by a daemon in a network namespace of the test's own. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, connect } from "../../src/client/index.js";
import { expectNoNetworks } from "../harness/check-networks.js";
import { importRootfs, removeAll } from "../harness/client.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { full } from "../harness/extent.js";
import { makeNetworkNamespace, type NetworkNamespace } from "../harness/network-namespace.js";
import { eventually } from "../harness/wait.js";
import { ctr, runCtr } from "./ctr.js";

let host: NetworkNamespace;
let daemon: TestDaemon;
let client: Client;

beforeAll(async () => {
  host = await makeNetworkNamespace();
  daemon = await startDaemon({ wrapper: host.enter() });
  client = connect(daemon.listen);
  await importRootfs(client, "tools:1");
});

afterAll(async () => {
  client?.close();
  await daemon?.[Symbol.asyncDispose]();
  await host?.[Symbol.asyncDispose]();
});

const lines = (text: string) => text.trimEnd().split("\n");

/** A server that answers with a text on port 80. */
const serve = (text: string) => [
  "sh",
  "-c",
  `mkdir -p /srv; echo ${text} >/srv/index.html; exec httpd -f -p 80 -h /srv`,
];

const answer = async () => {
  const get = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 30 127.0.0.1 8080 | busybox tail -n 1";
  return (await host.attempt(["busybox", "sh", "-c", get])).stdout.trim();
};

test("a network, two servers on it, a published port that is handed over", async () => {
  const id = (await ctr(daemon, "networks", "create", "--subnet", "10.7.0.0/24", "-l", "tier=web", "shop")).trim();
  expect(lines(await ctr(daemon, "networks", "ls", "--filter", "label=tier=web"))).toEqual([
    expect.stringMatching(/^NAME +ID +DRIVER +SUBNET +KIND +CONTAINERS$/),
    expect.stringMatching(new RegExp(`^shop +${id.slice(0, 12)} +bridge +10\\.7\\.0\\.0/24 +- +0$`)),
  ]);
  const on = ["--pull", "never", "--network", "shop"];
  await ctr(daemon, "run", "-d", ...on, "-p8080:80", "--name", "one", "tools:1", ...serve("one"));
  await ctr(daemon, "run", "-d", ...on, "--ip", "10.7.0.9", "--name", "two", "tools:1", ...serve("two"));
  await eventually(async () => expect(await answer()).toBe("one"));
  const names = await ctr(daemon, "run", ...on, "tools:1", "nslookup", "-type=a", "two");
  expect(names).toMatch(/Name:\s+two\nAddress: 10\.7\.0\.9\n/);
  await client.containers.get("two").then((two) => two.waitFor({ command: ["sh", "-c", "netstat -ltn | grep :80"] }));
  expect(await ctr(daemon, "replace", "one", "two")).toBe("0.0.0.0:8080 -> 80/tcp\n");
  await eventually(async () => expect(await answer()).toBe("two"));
  const [network] = lines(await ctr(daemon, "networks", "inspect", "shop")).map((line) => JSON.parse(line));
  expect(network.containers.map(({ name }: { name: string }) => name).toSorted()).toEqual(["one", "two"]);
  const used = await runCtr(daemon, ["networks", "rm", "shop"]);
  expect(used).toMatchObject({ status: 1, stderr: expect.stringMatching(/one|two|2 containers|attached/) });
  await removeAll(client);
  expect(await ctr(daemon, "networks", "prune")).toBe("shop\n");
  await expectNoNetworks(host);
});

test("a container by its name: exec, kill, start, restart, inspect", async () => {
  await ctr(daemon, "run", "-d", "--pull", "never", "--name", "web", "tools:1", "sleep", "1000");
  const exec = (input: string, ...args: string[]) => runCtr(daemon, ["exec", ...args], input);
  const seen = await exec("read\n", "-i", "-e", "A=b", "-w", "/bin", "web", "sh", "-c", "pwd; echo $A; cat; exit 7");
  expect(seen).toMatchObject({ status: 7, stderr: "" });
  expect(String(seen.stdout)).toBe("/bin\nb\nread\n");
  const unread = await exec("left alone\n", "web", "cat");
  expect(unread).toMatchObject({ status: 0, stderr: "" });
  expect(String(unread.stdout)).toBe("");
  expect((await exec("", "web", "no-such-command")).status).toBe(127);
  expect(await exec("", "nobody", "ls")).toMatchObject({ status: 125, stderr: '[ctr] no container "nobody"\n' });
  const pid = async () => JSON.parse(await ctr(daemon, "inspect", "web")).pid;
  const first = await pid();
  expect(await ctr(daemon, "restart", "-t", "0", "web")).toBe("web\n");
  expect(await pid()).not.toBe(first);
  expect(await ctr(daemon, "kill", "web")).toBe("web\n");
  await client.containers.get("web").then((web) => web.wait());
  expect(lines(await ctr(daemon, "ps", "-a")).at(-1)).toMatch(/ stopped \(137\) .* web$/);
  expect(await ctr(daemon, "start", "web")).toBe("web\n");
  expect((await runCtr(daemon, ["kill", "--signal", "NOPE", "web"])).stderr).toBe('[ctr] unknown signal "NOPE"\n');
  expect(await ctr(daemon, "rm", "-f", "web")).toBe("web\n");
  expect(await ctr(daemon, "volumes")).toMatch(/^Usage: ctr volumes /);
});

test.skipIf(!full)("connect, disconnect, repair", async () => {
  await ctr(daemon, "networks", "create", "--internal", "back");
  await ctr(daemon, "run", "-d", "--pull", "never", "--network", "bridge", "--name", "web", "tools:1", "sleep", "1000");
  await ctr(daemon, "networks", "connect", "--alias", "db", "back", "web");
  const { endpoints } = await (await client.containers.get("web")).inspect();
  expect(endpoints.map(({ network, aliases }) => [network, aliases])).toEqual([
    ["bridge", []],
    ["back", ["db"]],
  ]);
  await ctr(daemon, "networks", "disconnect", "back", "web");
  expect((await (await client.containers.get("web")).inspect()).endpoints).toHaveLength(1);
  expect(await ctr(daemon, "networks", "repair")).toBe("");
  await removeAll(client);
  await ctr(daemon, "networks", "rm", "back");
  await expectNoNetworks(host);
});

test.skipIf(!full)("volumes", async () => {
  const run = (...args: string[]) => ctr(daemon, "run", "--pull", "never", ...args);
  expect(await ctr(daemon, "volumes", "create", "--label", "app=shop", "kept")).toBe("kept\n");
  await run("-v", "kept:/data", "-v", "/anonymous", "tools:1", "sh", "-c", "echo note >/data/file; touch /anonymous/x");
  expect(
    await run("-v", "kept:/data:ro", "tools:1", "sh", "-c", "cat /data/file; touch /data/x 2>/dev/null || echo ro"),
  ).toBe("note\nro\n");
  expect(lines(await ctr(daemon, "volumes", "ls"))).toEqual([
    expect.stringMatching(/^NAME +CONTAINERS +CREATED$/),
    expect.stringMatching(/^kept +0 +\d{4}-/),
  ]);
  const inspected = JSON.parse(await ctr(daemon, "volumes", "inspect", "kept"));
  expect(inspected).toMatchObject({ name: "kept", labels: { app: "shop" }, size: expect.any(Number) });
  await ctr(daemon, "volumes", "rm", "kept");
  expect(await ctr(daemon, "volumes", "prune")).toBe("freed 0 B\n");
});

test.skipIf(!full)("a restart policy and a health check", async () => {
  const flags = ["--restart", "on-failure:1", "--health-cmd", "test -e /tmp/ok", "--health-interval", "200ms"];
  await ctr(
    daemon,
    "run",
    "-d",
    "--pull",
    "never",
    "--name",
    "checked",
    ...flags,
    "tools:1",
    "sh",
    "-c",
    "touch /tmp/ok; sleep 1000",
  );
  const container = await client.containers.get("checked");
  await container.waitFor("health");
  expect(container.info?.config?.restart).toEqual({ name: "on-failure", maxRetries: 1 });
  const refused = await runCtr(daemon, ["run", "--restart", "always", "tools:1"]);
  expect(refused).toMatchObject({
    status: 125,
    stderr: "[ctr] --restart always needs --detach, and does not go together with --rm\n",
  });
  await removeAll(client);
});
