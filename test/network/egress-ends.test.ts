/** That nothing opens for a moment where a container's egress begins, changes or ends: who sends all the time gets nothing out. */
import { chmodSync } from "node:fs";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { type Client, type Container, connect } from "../../src/client/index.js";
import { expectNoNetworks } from "../harness/check-networks.js";
import { importRootfs } from "../harness/client.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { full } from "../harness/extent.js";
import { makeNetworkNamespace, NetworkNamespace } from "../harness/network-namespace.js";
import { eventually } from "../harness/wait.js";

const IMAGE = "test/egress-ends:latest";
const OUTSIDE = "10.99.0.2";
const PORT = 9999;
const LISTED_PORT = 9998;

let host: NetworkNamespace;
let outside: NetworkNamespace;
let daemon: TestDaemon;
let client: Client;
/** What has come through, a line each. */
const arrived: string[] = [];

const LISTEN = `
require("node:dgram").createSocket("udp4").on("message", (text) => console.log(String(text))).bind(${PORT}, () => console.log("ready"));
const { createServer } = require("node:net");
for (const port of [${PORT}, ${LISTED_PORT}]) createServer((socket) => socket.on("error", () => {}).pipe(socket)).listen(port);
`;

/** Sends to the address all the time, and tells each hundred. */
const FLOOD = `
const socket = require("node:dgram").createSocket("udp4");
let tried = 0;
socket.on("error", () => {});
const send = () => {
  for (let i = 0; i < 5; i++) socket.send(process.argv[1], ${PORT}, "${OUTSIDE}", () => {});
  if (++tried % 100 === 0) console.log("tried");
  setImmediate(send);
};
send();
`;

beforeAll(async () => {
  [host, outside] = await Promise.all([makeNetworkNamespace(), makeNetworkNamespace()]);
  await host.connect(outside);
  await host.shell(`ip route add default via ${OUTSIDE}`);
  await outside.shell("ip route add default via 10.99.0.1");
  const listener = outside.spawn(process.execPath, "-e", LISTEN);
  listener.stdout!.on("data", (data) => arrived.push(...String(data).trim().split("\n")));
  listener.stderr!.pipe(process.stderr);
  await eventually(() => arrived.includes("ready"));
  daemon = await startDaemon({ wrapper: host.enter() });
  chmodSync(daemon.dir, 0o711);
  client = connect(daemon.listen);
  await importRootfs(client, IMAGE);
});

afterAll(async () => {
  client?.close();
  await daemon?.[Symbol.asyncDispose]();
  await host?.[Symbol.asyncDispose]();
  await outside?.[Symbol.asyncDispose]();
});

async function start(network: object | string): Promise<Container> {
  const container = await client.containers.start({
    ...{ image: IMAGE, args: ["sleep", "1000000"], stopSignal: "SIGKILL", network: network as string },
  });
  onTestFinished(() => container.remove({ force: true }).catch(() => {}));
  return container;
}

/** Has a process in a container's network namespace, as one that has joined it, send all the time. */
async function flood(
  container: Container,
  text: string,
): Promise<{ isTried: () => Promise<unknown>; end: () => void }> {
  const { pid } = await container.inspect();
  const inside = new NetworkNamespace(pid);
  const child = inside.spawn(process.execPath, "-e", FLOOD, text);
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  let tried = 0;
  child.stdout!.on("data", () => tried++);
  child.stderr!.pipe(process.stderr);
  await eventually(() => tried > 0);
  const isTried = () => {
    const before = tried;
    return eventually(() => tried > before + 1);
  };
  return { isTried, end: () => child.kill("SIGKILL") };
}

test.skipIf(!full)("who has joined its network gets nothing out while the container ends", async () => {
  for (let round = 0; round < 5; round++) {
    const container = await start({ egress: [] });
    const { isTried, end } = await flood(container, "after the end");
    await container.kill("SIGKILL");
    await container.wait();
    await isTried();
    await eventually(async () => !(await host.devices()).some((name) => name.startsWith("ctv")));
    end();
    await container.remove({ force: true });
  }
  expect(arrived).not.toContain("after the end");
  await expectNoNetworks(host);
});

test.skipIf(!full)("it gets nothing out while it is put on a network or taken off one", async () => {
  const { name } = await client.networks.create({ name: "second" });
  onTestFinished(() => client.networks.remove(name));
  const container = await start({ egress: [], network: "second" });
  const { isTried, end } = await flood(container, "between networks");
  for (let round = 0; round < 5; round++) {
    await client.networks.disconnect("second", container.id);
    await client.networks.connect("second", container.id);
    await isTried();
  }
  end();
  await container.remove({ force: true });
  expect(arrived).not.toContain("between networks");
});

test.skipIf(!full)(
  "a connection that was made while the rules were gone ends when they are back; what may be reached stays",
  async () => {
    const container = await start({ egress: [`${OUTSIDE}:${LISTED_PORT}`] });
    const { pid } = await container.inspect();
    const inside = new NetworkNamespace(pid);
    const script = `
    const { connect } = require("node:net");
    const listed = connect(${LISTED_PORT}, "${OUTSIDE}", () => console.log("listed open"));
    listed.on("error", () => {}).on("close", () => console.log("listed closed")).on("data", (text) => console.log("listed " + text));
    process.stdin.on("data", (text) => listed.write(text));
    const again = () => {
      const socket = connect(${PORT}, "${OUTSIDE}");
      let timer;
      socket.on("connect", () => { console.log("through"); timer = setInterval(() => socket.write("x"), 10); });
      socket.on("error", () => {}).on("close", () => { clearInterval(timer); console.log("ended"); setTimeout(again, 1); });
    };
    again();`;
    const child = inside.spawn(process.execPath, "-e", script);
    onTestFinished(() => {
      child.kill("SIGKILL");
    });
    let said = "";
    child.stdout!.on("data", (data) => {
      said += data;
    });
    await eventually(() => said.includes("ended") && said.includes("listed open"));
    expect(said).not.toContain("through");
    // Each time they are gone for a moment.
    await eventually(async () => {
      await host.shell("nft flush ruleset");
      return said.includes("through");
    });
    await eventually(() => said.lastIndexOf("ended") > said.lastIndexOf("through"));
    child.stdin!.write("still there");
    await eventually(() => said.includes("listed still there"));
    expect(said).not.toContain("listed closed");
  },
);
