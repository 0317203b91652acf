/** Names of containers with `egress`: what netd lets through, in network namespaces of this test's. */
import { expect, test } from "vitest";
import { hostSet, portSet } from "../../src/contract/netd/egress.js";
import {
  egressClose,
  egressDeclarations,
  egressOpen,
  egressPrefix,
  netdEgress,
} from "../../src/core/network/egress-rules.js";
import type { ContainerRules, Endpoint } from "../../src/core/network/network.js";
import { full } from "../harness/extent.js";
import { kill } from "../harness/processes.js";
import { eventually } from "../harness/wait.js";
import { makeNetdHost, question } from "./netd-host.js";

const TABLE = "containerd-ts-0123abcd";
const NAME = { namespace: "default", container: "shut" };
const KEY = "default/shut";
const PREFIX = egressPrefix(NAME);
const NETWORK = { network: "0123456789ab", networkName: "front" };
const ADDRESSES = { address: "172.30.0.2", address6: "fd98::2" };

async function shutContainer(egress: string[]) {
  const host = await makeNetdHost();
  const questions = await host.nameServer("127.0.0.1");
  const endpoint = { ...NAME, ...ADDRESSES, mac: "02:42:0a:62:00:02", device: "ctv000000000002", inside: "eth0" };
  const rules: ContainerRules = { endpoints: [endpoint as Endpoint], publications: [], egress };
  const open = `${egressDeclarations(TABLE)}\n${egressOpen(TABLE, NAME, rules)}`;
  await host.network.shell("nft -f -", open);
  const container = await host.container();
  const attachment = {
    ...container.as(KEY, [{ ...NETWORK, ...ADDRESSES, names: ["shut"] }]),
    egress: netdEgress(TABLE, NAME, egress, rules.endpoints),
  };
  const list = (set: string) => host.network.shell(`nft list set inet ${TABLE} ${set}`);
  return { host, questions, rules, container, attachment, open, list };
}

test.skipIf(!full)(
  "a name that is allowed is asked for and let through before the answer; others are nobody's, and written down",
  async () => {
    const { host, questions, container, attachment, list } = await shutContainer(["a.example:443", "*.b.example"]);
    await using _ = host;
    const daemon = host.daemon();
    const other = await host.container();
    await daemon.attach(other.as("default/other", [{ ...NETWORK, address: "172.30.0.3", names: ["other"] }]));
    await daemon.attach(attachment);
    expect(await container.ask("A.Example")).toEqual(["192.0.2.1"]);
    const first = await list(portSet(PREFIX, 4));
    expect(first).toMatch(/192\.0\.2\.1 \. 443 timeout 2m expires (2m|1m\d\ds)/);
    expect(await container.ask("x.y.b.example", "AAAA")).toEqual(["2001:db8::1"]);
    expect(await list(hostSet(PREFIX, 6))).toContain("2001:db8::1 timeout 2m");
    for (const name of ["b.example", "x.a.example", "evil.example", "other", "shut"])
      expect([name, await container.ask(name)]).toEqual([name, "ENOTFOUND"]);
    expect(await container.ask("3.0.30.172.in-addr.arpa", "PTR")).toBe("ENOTFOUND");
    expect(await container.ask("evil.example", "MX")).toBe("ENOTFOUND");
    const outside = () => new Set(questions.map((line) => line.split(" ")[1]));
    await eventually(() => outside().size > 1);
    expect(outside()).toEqual(new Set(["a.example", "x.y.b.example"]));
    const { asked, dropped } = await daemon.egressOf(KEY);
    expect(dropped).toBe(0);
    // A resolver may ask twice.
    expect(asked.every(({ count }) => count > 0)).toBe(true);
    expect(Object.fromEntries(asked.map(({ name, allowed }) => [name, allowed]))).toEqual({
      ...{ "a.example": true, "x.y.b.example": true, "b.example": false, "x.a.example": false, "evil.example": false },
      ...{ other: false, shut: false, "3.0.30.172.in-addr.arpa": false },
    });
    // The others' questions are as they were.
    expect(await other.ask("evil.example")).toEqual(["192.0.2.1"]);
    expect(host.errors).toEqual([]);
    expect(host.log).toBe("");
  },
);

test.skipIf(!full)("what is let through can't be told before: without rules, or room, there is no answer", async () => {
  const { host, container, attachment, rules, open, list } = await shutContainer(["*.example"]);
  await using _ = host;
  const daemon = host.daemon();
  await daemon.attach(attachment);
  expect(await container.ask("a.example")).toEqual(["192.0.2.1"]);
  await host.network.shell("nft -f -", egressClose(TABLE, NAME, rules));
  // Known from before as it is, and asked for again.
  expect(await container.ask("long.example")).toBe("ESERVFAIL");
  await host.network.shell(`nft delete table inet ${TABLE}; nft delete table bridge ${TABLE}`);
  await host.network.shell("nft -f -", open);
  // Told of it again, it lets through again what it has.
  await daemon.update(KEY, attachment);
  expect(await list(hostSet(PREFIX, 4))).toContain("192.0.2.1 timeout");
  const answers = await container.ask("long.example");
  expect(answers).toHaveLength(200);
});

test.skipIf(!full)("a killed netd lets nothing new through, and its successor goes on", async () => {
  const { host, container, attachment, list } = await shutContainer(["a.example:443"]);
  await using _ = host;
  let daemon = host.daemon();
  await daemon.attach(attachment);
  daemon.close();
  const first = host.pid!;
  kill(first);
  await eventually(() => host.pid === undefined);
  expect((await container.send(question("a.example"))) ?? "none").not.toHaveProperty("answer");
  expect(await list(portSet(PREFIX, 4))).not.toContain("192.0.2.1");
  daemon = host.daemon();
  await daemon.attach(attachment);
  await daemon.restored();
  await eventually(async () => (await container.ask("a.example")).includes("192.0.2.1"));
  expect(await container.ask("evil.example")).toBe("ENOTFOUND");
  // Under no daemon at all.
  daemon.close();
  expect(await container.ask("a.example", "AAAA")).toEqual(["2001:db8::1"]);
  expect(await list(portSet(PREFIX, 6))).toContain("2001:db8::1 . 443");
  await host.daemon().attach(attachment);
});

test.skipIf(!full)("names that it makes up take no room without an end", async () => {
  const { host, container, attachment } = await shutContainer([]);
  await using _ = host;
  const daemon = host.daemon();
  await daemon.attach(attachment);
  const filler = ["x".repeat(63), "y".repeat(63), "\u0001".repeat(40)].join(".");
  for (let index = 0; index < 200; index++) await container.send(question(`${index}.${filler}`));
  const { asked, dropped } = await daemon.egressOf(KEY);
  expect(asked.length).toBeGreaterThan(10);
  expect(asked.reduce((sum, { count }) => sum + count, 0) + dropped).toBe(200);
  expect(asked.every(({ name }) => /^[\x21-\x7e]+$/.test(name))).toBe(true);
  expect(host.log).toBe("");
});

test.skipIf(!full)("what is no question, or of another class, or broken, is let through nowhere", async () => {
  const { host, questions, container, attachment } = await shutContainer(["*.example"]);
  await using _ = host;
  await host.daemon().attach(attachment);
  const chaos = question("a.example");
  chaos.writeUInt16BE(3, chaos.length - 2);
  const answer = (await container.send(chaos)) as { answer: string };
  expect(Buffer.from(answer.answer, "hex")[3]! & 15).toBe(3);
  for (let length = 0; length < chaos.length; length++) await container.send(chaos.subarray(0, length), { wait: 20 });
  expect(await container.ask("b.example")).toEqual(["192.0.2.1"]);
  await eventually(() => questions.length > 0);
  expect(new Set(questions.map((line) => line.split(" ")[1]))).toEqual(new Set(["b.example"]));
  expect(host.log).toBe("");
});

test.skipIf(!full)("connections of its address end with it, so that the next owner can't go on with them", async () => {
  const { host, attachment } = await shutContainer([]);
  await using _ = host;
  const daemon = host.daemon();
  await host.network.shell("ip address add 172.30.0.2/32 dev lo; ip address add 172.30.0.9/32 dev lo");
  const send =
    "const s = require('node:dgram').createSocket('udp4'); s.bind(0, process.argv[1], () => s.send('x', 9, '127.0.0.1', () => s.close()))";
  const begin = async (address: string) => host.network.attempt([process.execPath, "-e", send, address]);
  const isKnown = async (address: string) =>
    (await host.network.shell("cat /proc/net/nf_conntrack")).includes(`src=${address} dst=127.0.0.1`);
  await begin("172.30.0.2");
  await begin("172.30.0.9");
  expect([await isKnown("172.30.0.2"), await isKnown("172.30.0.9")]).toEqual([true, true]);
  await daemon.attach(attachment);
  await daemon.forgetOwner(attachment.egress.addresses);
  expect([await isKnown("172.30.0.2"), await isKnown("172.30.0.9")]).toEqual([false, true]);
  await begin("172.30.0.2");
  expect(await isKnown("172.30.0.2")).toBe(true);
  await daemon.detach(KEY);
  expect([await isKnown("172.30.0.2"), await isKnown("172.30.0.9")]).toEqual([false, true]);
});
