/** What netd makes of questions: its own names, those of the outside, packets that are none. */
import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { full } from "../harness/extent.js";
import { activityOf } from "../harness/processes.js";
import { eventually } from "../harness/wait.js";
import { makeNetdHost, question } from "./netd-host.js";

const FRONT = { network: "f", networkName: "front" };
const BACK = { network: "b", networkName: "Back.End" };

test.skipIf(!full)("a name is that of the networks that are shared, and of those alone", async () => {
  await using host = await makeNetdHost();
  await host.nameServer("127.0.0.1");
  const daemon = host.daemon();
  const [web, db, other] = await Promise.all([host.container(), host.container(), host.container()]);
  await daemon.attach(
    web.as("n/web", [
      { ...FRONT, address: "172.30.0.2", names: ["web"] },
      { ...BACK, address: "172.31.0.2", names: ["web", "backweb"] },
    ]),
  );
  await daemon.attach(db.as("n/db", [{ ...BACK, address: "172.31.0.3", names: ["db", "shared"] }]));
  await daemon.attach(
    other.as("n/other", [{ ...FRONT, address: "172.30.0.4", address6: "fd00::4", names: ["other", "shared"] }]),
  );
  expect(await web.ask("shared")).toEqual(["172.30.0.4"]);
  expect(await web.ask("shared.back.end")).toEqual(["172.31.0.3"]);
  expect(await db.ask("web")).toEqual(["172.31.0.2"]);
  expect(await db.ask("other")).toEqual(["192.0.2.1"]);
  expect(await web.ask("other", "MX")).toBe("ENODATA");
  const reverse = `4.${"0.".repeat(27)}0.0.d.f.ip6.arpa`;
  expect(await web.ask(reverse, "PTR")).toEqual(["other.front"]);
  expect(await db.ask("2.0.31.172.in-addr.arpa", "PTR")).toEqual(["web.back.end"]);

  // One more of the same alias: both are told, and each is the first now and then.
  const twin = await host.container();
  await daemon.attach(twin.as("n/twin", [{ ...FRONT, address: "172.30.0.5", names: ["twin", "shared"] }]));
  const firsts = new Set<string>();
  await eventually(async () => {
    const addresses = (await web.ask("shared")) as string[];
    expect([...addresses].sort()).toEqual(["172.30.0.4", "172.30.0.5"]);
    firsts.add(addresses[0]!);
    return firsts.size === 2;
  });
  // Connected to another network, renamed there, taken off it.
  const { endpoints, servers } = other.as("", [{ ...BACK, address: "172.31.0.9", names: ["renamed"] }]);
  await daemon.update("n/other", { endpoints, servers });
  expect(await db.ask("renamed")).toEqual(["172.31.0.9"]);
  expect(await other.ask("db")).toEqual(["172.31.0.3"]);
  expect(await web.ask("shared")).toEqual(["172.30.0.5"]);
  expect(host.log).toBe("");
});

test.skipIf(!full)("what netd does not know is asked of the servers that a container has, or the host", async () => {
  await using host = await makeNetdHost();
  const questions = await host.nameServer("127.0.0.1");
  const others = await host.nameServer("127.0.0.2");
  const sixth = await host.nameServer("::1");
  const daemon = host.daemon();
  const [web, own, closed] = await Promise.all([host.container(), host.container(), host.container()]);
  const on = (name: string) => [{ ...FRONT, address: "172.30.0.9", names: [name] }];
  await daemon.attach(web.as("n/web", on("web")));
  await daemon.attach(own.as("n/own", on("own"), ["127.0.0.2"]));
  await daemon.attach(closed.as("n/closed", on("closed"), "none"));
  expect(await web.ask("a.example", "AAAA")).toEqual(["2001:db8::1"]);
  expect(await web.ask("nowhere.example")).toBe("ENOTFOUND");
  expect(await web.ask("failing.example")).toBe("ESERVFAIL");
  // Who has seen another's answer has not seen the id.
  expect(await web.ask("forged.example")).toEqual(["192.0.2.1"]);
  // Over UDP it is cut; the client's next question is over TCP, and so is netd's.
  expect(await web.ask("long.example")).toHaveLength(200);
  expect(questions.filter((line) => line.includes("long")).map((line) => line.split(" ")[0])).toEqual(["udp", "tcp"]);
  const extended = question("e.example", { extension: 1232 });
  await web.send(extended);
  expect(questions.at(-1)).toBe(`udp e.example 1 ${extended.length}`);

  expect(others).toEqual([]);
  expect(await own.ask("own.example")).toEqual(["192.0.2.1"]);
  expect(others).toHaveLength(1);
  expect(await closed.ask("a.example")).toBe("ENOTFOUND");
  expect(await closed.ask("web")).toEqual(["172.30.0.9"]);

  // The first is not there, the second is silent to that name, the third answers.
  const before = questions.length;
  writeFileSync(
    host.resolvConf,
    "# new\nsearch example\nnameserver 127.0.0.9\nnameserver 127.0.0.2 # two\nnameserver ::1\n",
  );
  await eventually(async () => {
    await web.ask("c.example");
    return others.length > 1;
  });
  expect(questions.length - before).toBeLessThan(300);
  expect(await web.ask("failing.example")).toBe("ESERVFAIL");
  expect(sixth.filter((line) => line.includes("failing"))).not.toEqual([]);
  // One that is gone for a moment changes nothing.
  writeFileSync(host.resolvConf, "");
  expect(await own.ask("d.example")).toEqual(["192.0.2.1"]);
  expect(host.log).toBe("");
});

test.skipIf(!full)(
  "a server that is silent is followed by the next, and a client waits for its answer no longer than for that",
  async () => {
    await using host = await makeNetdHost();
    const daemon = host.daemon();
    const web = await host.container();
    // Packets for the first go nowhere.
    const rules = [
      "add table ip t",
      "add chain ip t c { type filter hook input priority 0; }",
      "add rule ip t c ip daddr 127.0.0.3 udp dport 53 drop",
    ];
    await host.network.shell("nft -f -", `${rules.join("\n")}\n`);
    await host.nameServer("127.0.0.4");
    await daemon.attach(
      web.as("n/web", [{ ...FRONT, address: "172.30.0.2", names: ["web"] }], ["127.0.0.3", "127.0.0.4"]),
    );
    const first = performance.now();
    expect(await web.send(question("a.example"), { wait: 60_000 })).toHaveProperty("answer");
    const second = performance.now();
    expect(await web.send(question("b.example"), { wait: 60_000 })).toHaveProperty("answer");
    // The first was asked after the second this time.
    expect(performance.now() - second).toBeLessThan(second - first);
  },
);

test.skipIf(!full)(
  "port 53 is free for a server of the container's own, and answers come from where they were asked",
  async () => {
    await using host = await makeNetdHost();
    const daemon = host.daemon();
    const web = await host.container();
    await daemon.attach(web.as("n/web", [{ ...FRONT, address: "172.30.0.2", names: ["web"] }]));
    const questions = await host.nameServer("0.0.0.0", web.network);
    const reply = await web.send(question("web"));
    expect(reply).toMatchObject({ from: "127.0.0.11:53" });
    expect((reply as { answer: string }).answer).toMatch(/ac1e0002$/);
    expect(await web.send(question("web"), { protocol: "tcp" })).toHaveProperty("answer");
    expect(questions).toEqual([]);
    const own = await web.request<number[]>({
      packet: question("mine").toString("hex"),
      measure: 1,
      address: "127.0.0.1",
    });
    expect(own).toHaveLength(1);
    expect(questions).toEqual(["udp mine 1 22"]);
  },
);

test.skipIf(!full)("what is no question is dropped, and harms nobody", async () => {
  await using host = await makeNetdHost();
  await host.nameServer("127.0.0.1");
  const daemon = host.daemon();
  const [web, rogue] = await Promise.all([host.container(), host.container()]);
  await daemon.attach(web.as("n/web", [{ ...FRONT, address: "172.30.0.2", names: ["web"] }]));
  await daemon.attach(rogue.as("n/rogue", [{ ...FRONT, address: "172.30.0.3", names: ["rogue"] }]));
  const good = question("web");
  const head = good.subarray(0, 12);
  const odd = [
    ...Array.from({ length: good.length }, (_, length) => good.subarray(0, length)),
    Buffer.concat([Buffer.from([0, 0, 0x80]), good.subarray(3)]),
    Buffer.concat([head, Buffer.from([0xc0, 0x0c, 0, 1, 0, 1])]),
    Buffer.concat([head, Buffer.from([64]), Buffer.alloc(70)]),
    Buffer.concat([head, ...Array.from({ length: 130 }, () => Buffer.from([1, 97])), Buffer.from([0, 0, 1, 0, 1])]),
    Buffer.concat([good.subarray(0, 4), Buffer.from([0, 2]), good.subarray(6)]),
    Buffer.concat([good.subarray(0, 6), Buffer.from([0, 1]), good.subarray(8)]),
    Buffer.alloc(60_000, 0xff),
  ];
  const replies = await Promise.all(odd.map((packet) => rogue.send(packet, { wait: 300 })));
  expect(replies.filter((reply) => reply !== null)).toEqual([]);
  // No standard query: an answer that says so.
  const status = Buffer.concat([good.subarray(0, 2), Buffer.from([0x10]), good.subarray(3)]);
  expect(((await rogue.send(status)) as { answer: string }).answer.slice(4, 8)).toBe("9084");
  // A label with a dot in it is no name of ours.
  const dotted = Buffer.concat([head, Buffer.from([5]), Buffer.from("web.f"), Buffer.from([0, 0, 1, 0, 1])]);
  expect(((await rogue.send(dotted)) as { answer: string }).answer).toMatch(/c0000201$/);
  for (let n = 0; n < 200; n++) {
    const noise = Buffer.from(good);
    for (let times = 0; times < 4; times++) noise[Math.floor(Math.random() * noise.length)] = Math.random() * 256;
    void rogue.send(noise, { wait: 100 });
  }
  expect(await rogue.send(Buffer.alloc(100, 0xff), { protocol: "tcp" })).not.toHaveProperty("answer");
  expect(await web.ask("rogue")).toEqual(["172.30.0.3"]);
  expect(host.log).toBe("");
});

test.skipIf(!full)(
  "TCP clients that never finish, and floods, are a matter of the container that sends them",
  async () => {
    await using host = await makeNetdHost();
    await host.nameServer("127.0.0.1");
    const daemon = host.daemon();
    const [web, rogue] = await Promise.all([host.container(), host.container()]);
    await daemon.attach(web.as("n/web", [{ ...FRONT, address: "172.30.0.2", names: ["web"] }]));
    await daemon.attach(rogue.as("n/rogue", [{ ...FRONT, address: "172.30.0.3", names: ["rogue"] }]));
    const before = host.descriptors();
    await rogue.request({ idle: 100 });
    await eventually(() => host.descriptors() >= before + 10);
    expect(host.descriptors()).toBeLessThanOrEqual(before + 16);
    expect(await rogue.send(question("web"), { protocol: "tcp" })).toHaveProperty("answer");
    // Each goes out to a server that never answers.
    await rogue.request({ packet: question("silent.example").toString("hex"), flood: 5_000 });
    expect(host.descriptors()).toBeLessThanOrEqual(before + 16 + 256);
    expect(await web.ask("rogue")).toEqual(["172.30.0.3"]);
    expect(await web.ask("a.example")).toEqual(["192.0.2.1"]);
    // Of names that netd knows itself: the others are answered meanwhile.
    let isFlooding = true;
    const flood = rogue
      .request({ packet: question("web").toString("hex"), flood: 50_000 })
      .then(() => (isFlooding = false));
    let answers = 0;
    while (isFlooding || answers === 0) {
      expect(await web.ask("rogue")).toEqual(["172.30.0.3"]);
      answers++;
    }
    await flood;
    // All of it ends: the tries, the clients' patience; and then netd sleeps.
    await eventually(() => host.descriptors() === before);
    expect(await rogue.ask("a.example")).toEqual(["192.0.2.1"]);
    await eventually(() => host.descriptors() === before);
    const pid = host.pid!;
    // Longer than any of its timers.
    const pause = () => new Promise((resolve) => setTimeout(resolve, 4_000));
    await eventually(async () => {
      const { wakeups } = activityOf(pid);
      await pause();
      return activityOf(pid).wakeups === wakeups;
    });
    expect(host.log).toBe("");
  },
);
