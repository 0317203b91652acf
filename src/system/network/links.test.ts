import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { addAddress, addRoute, listAddresses } from "./addresses.js";
import { changeLink, changePort, findLink, listLinks, makeBridge, makePair, removeLink } from "./links.js";
import { NETLINK_ROUTE, NetlinkSocket } from "./netlink-socket.js";
import { networkNamespaceOf } from "./network-namespace.js";

const holders: ChildProcess[] = [];

async function newNamespace() {
  const holder = spawn("unshare", ["--net", "sh", "-c", "echo ready; exec cat"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  holders.push(holder);
  await once(holder.stdout!, "data");
  return networkNamespaceOf(holder.pid!);
}

let host: Awaited<ReturnType<typeof newNamespace>>;
let container: typeof host;
beforeAll(async () => {
  [host, container] = await Promise.all([newNamespace(), newNamespace()]);
});
afterAll(() => {
  for (const namespace of [host, container]) namespace?.[Symbol.dispose]();
  for (const holder of holders) holder.kill("SIGKILL");
});

const mac = (last: number) => Buffer.of(2, 0x42, 0, 0, 0, last);

test("a bridge, a pair of devices with one end in another namespace, addresses and routes", async () => {
  using onHost = new NetlinkSocket(NETLINK_ROUTE, { namespace: host.fd });
  await onHost.do(makeBridge({ name: "br", mac: mac(1), mtu: 1400 }), changeLink("br", { alias: "ours", isUp: true }));
  const bridge = (await findLink(onHost, "br"))!;
  expect(bridge).toMatchObject({
    name: "br",
    alias: "ours",
    kind: "bridge",
    mac: mac(1),
    mtu: 1400,
    isUp: true,
    master: 0,
  });

  await onHost.do(
    makePair("pair", 1400, { name: "eth0", mac: mac(2), namespace: container.fd }),
    changeLink("pair", { alias: "container's", master: bridge.index, withoutOwnAddress: true }),
    changePort("pair", { isolated: true, hairpin: false }),
    changeLink("pair", { isUp: true }),
  );
  expect(await findLink(onHost, "pair")).toMatchObject({ alias: "container's", kind: "veth", master: bridge.index });
  const names = (await listLinks(onHost)).map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(["lo", "br", "pair"]));

  using inside = new NetlinkSocket(NETLINK_ROUTE, { namespace: container.fd });
  const eth0 = (await findLink(inside, "eth0"))!;
  expect(eth0).toMatchObject({ mac: mac(2), isUp: false });
  const address = { address: Buffer.of(10, 1, 0, 2), length: 16, broadcast: Buffer.of(10, 1, 255, 255) };
  const gateway = Buffer.of(10, 1, 0, 1);
  await inside.do(
    changeLink("lo", { isUp: true }),
    addAddress(eth0.index, address),
    changeLink(eth0.index, { isUp: true }),
    addRoute(eth0.index, { gateway }),
  );
  expect(await listAddresses(inside)).toContainEqual({ index: eth0.index, address: address.address, length: 16 });

  await onHost.do(removeLink((await findLink(onHost, "pair"))!.index));
  expect(await findLink(inside, "eth0")).toBeUndefined();
});

test("what the kernel refuses has its code and words; what comes after it is done", async () => {
  using onHost = new NetlinkSocket(NETLINK_ROUTE, { namespace: host.fd });
  const errors = await onHost.request([
    makeBridge({ name: "twice", mac: mac(3), mtu: 1500 }),
    makeBridge({ name: "twice", mac: mac(3), mtu: 1500 }),
    changeLink("missing", { isUp: true }),
    changeLink("twice", { isUp: true }),
  ]);
  expect(errors.map((error) => error?.code)).toEqual([undefined, "EEXIST", "ENODEV", undefined]);
  await expect(onHost.do(removeLink(99_999))).rejects.toMatchObject({ code: "ENODEV" });
  expect(await findLink(onHost, "missing")).toBeUndefined();
});

test("this process is where it was, also when something fails in the other namespace", async () => {
  const { readlinkSync } = await import("node:fs");
  const { inNetworkNamespace } = await import("./network-namespace.js");
  const before = readlinkSync("/proc/thread-self/ns/net");
  expect(inNetworkNamespace(host.fd, () => readlinkSync("/proc/thread-self/ns/net"))).not.toBe(before);
  const fail = () => {
    throw new Error("in there");
  };
  expect(() => inNetworkNamespace(host.fd, fail)).toThrow("in there");
  expect(readlinkSync("/proc/thread-self/ns/net")).toBe(before);
});
