/** netd's ports, its deaths, and what it leaves behind: nothing. */
import { readdirSync, readlinkSync } from "node:fs";
import { expect, test } from "vitest";
import { PortTaken } from "../../src/core/network/netd/netd.js";
import { full, times } from "../harness/extent.js";
import { kill } from "../harness/processes.js";
import { eventually } from "../harness/wait.js";
import { makeNetdHost } from "./netd-host.js";

const FRONT = { network: "f", networkName: "front" };

test.skipIf(!full)("a held port is nobody else's, whoever asks for it in which way", async () => {
  await using host = await makeNetdHost();
  const daemon = host.daemon();
  const listener = `const server = require("net").createServer();
    server.on("error", ({ code }) => process.exit(console.log(code)));
    server.listen(...process.argv.slice(1), () => process.exit(console.log("listens")));`;
  const listen = (address: string, port: number) =>
    host.network.attempt([process.execPath, "-e", listener, String(port), address]);
  const both = ["0.0.0.0", "::"];
  const [tcp, udp] = await daemon.hold([
    { protocol: "tcp", addresses: both, port: 0 },
    { protocol: "udp", addresses: ["127.0.0.1"], port: 0 },
  ]);
  expect((await listen("127.0.0.1", tcp!)).stdout).toBe("EADDRINUSE\n");
  expect((await listen("::1", tcp!)).stdout).toBe("EADDRINUSE\n");
  expect((await listen("127.0.0.1", udp!)).stdout).toBe("listens\n");
  // Again: they are ours already.
  expect(await daemon.hold([{ protocol: "tcp", addresses: both, port: tcp! }])).toEqual([tcp]);

  // All or none.
  const taken = [
    { protocol: "tcp" as const, addresses: ["127.0.0.1"], port: 4711 },
    { protocol: "udp" as const, addresses: ["0.0.0.0"], port: udp! },
  ];
  await expect(daemon.hold(taken)).rejects.toThrow(PortTaken);
  await expect(daemon.hold(taken)).rejects.toThrow(`udp port ${udp} of 0.0.0.0 is taken by a program of the host`);
  expect((await listen("127.0.0.1", 4711)).stdout).toBe("listens\n");
  await expect(daemon.hold([{ protocol: "tcp", addresses: ["10.1.2.3"], port: 80 }])).rejects.toThrow(
    "tcp 10.1.2.3 port 80: cannot assign requested address",
  );
  await expect(daemon.hold([{ protocol: "tcp", addresses: ["nonsense"], port: 80 }])).rejects.toThrow(
    '"nonsense" is no address',
  );
  await daemon.release([{ protocol: "tcp", addresses: both, port: tcp! }]);
  expect((await listen("0.0.0.0", tcp!)).stdout).toBe("listens\n");

  // While no daemon is there, and under the next one.
  const pid = host.pid;
  daemon.close();
  const next = host.daemon();
  await next.hold([{ protocol: "udp", addresses: ["127.0.0.1"], port: udp! }]);
  await next.restored();
  expect(host.pid).toBe(pid);
  await next.release([{ protocol: "udp", addresses: ["127.0.0.1"], port: udp! }]);
  await eventually(() => host.pid === undefined);
  expect(host.log).toBe("");
});

test.skipIf(!full)("netd keeps no namespace of a container that has ended, also while no daemon is there", async () => {
  await using host = await makeNetdHost();
  const daemon = host.daemon();
  const [web, db] = await Promise.all([host.container(), host.container()]);
  await daemon.attach(web.as("n/web", [{ ...FRONT, address: "172.30.0.2", names: ["web"] }]));
  const before = host.descriptors();
  const gone = db.as("n/db", [{ ...FRONT, address: "172.30.0.3", names: ["db"] }]);
  await daemon.attach(gone);
  expect(host.descriptors()).toBe(before + 3);
  daemon.close();
  await db.network[Symbol.asyncDispose]();
  await eventually(() => host.descriptors() === before - 1);
  const next = host.daemon();
  await expect(next.attach(gone)).rejects.toThrow();
  await next.attach(web.as("n/web", [{ ...FRONT, address: "172.30.0.2", names: ["web"] }]));
  await next.restored();
  await web.network[Symbol.asyncDispose]();
  await next.detach("n/web");
  await eventually(() => host.pid === undefined);
  expect(host.errors).toEqual([]);
});

test.skipIf(!full)("what was attached and detached leaves nothing behind", async () => {
  await using host = await makeNetdHost();
  const daemon = host.daemon();
  const [stays, comes] = await Promise.all([host.container(), host.container()]);
  await daemon.attach(stays.as("n/stays", [{ ...FRONT, address: "172.30.0.2", names: ["stays"] }]));
  const endpoints = [{ ...FRONT, address: "172.30.0.3", address6: "fd00::3", names: ["comes", "alias", "c0ffee"] }];
  const attachments = Array.from({ length: 8 }, (_, n) => comes.as(`n/comes${n}`, endpoints));
  const round = async () => {
    await Promise.all(attachments.map((attachment) => daemon.attach(attachment)));
    await Promise.all(attachments.map(({ key }) => daemon.detach(key)));
  };
  const descriptors = host.descriptors();
  for (let n = 0; n < 100; n++) await round();
  const before = host.memory();
  for (let n = 0; n < times(1250, 10); n++) await round();
  // Rules that were replaced are let go of a little later.
  await eventually(() => host.descriptors() === descriptors);
  expect(host.memory().private).toBeLessThan(before.private + 200);
  expect(await stays.ask("comes", "MX")).not.toBe("ENODATA");
  const own = `/proc/${process.pid}/fd`;
  const namespaces = readdirSync(own).filter((fd) => {
    try {
      return readlinkSync(`${own}/${fd}`).startsWith("net:");
    } catch {
      return false;
    }
  });
  expect(namespaces).toEqual([]);
  expect(host.log).toBe("");
});

test.skipIf(!full)("whoever is killed when: names are right again, and no port is lost", async () => {
  await using host = await makeNetdHost();
  const containers = await Promise.all(Array.from({ length: 6 }, () => host.container()));
  const attachments = containers.map((container, n) =>
    container.as(`n/${n}`, [{ ...FRONT, address: `172.30.0.${n + 2}`, names: [`c${n}`] }]),
  );
  let daemon = host.daemon();
  const held = { protocol: "tcp" as const, addresses: ["0.0.0.0"], port: 8080 };
  for (let round = 0; round < times(30, 3); round++) {
    const work = Promise.allSettled([
      daemon.hold([held]),
      ...attachments.map(async (attachment) => {
        await daemon.attach(attachment);
        if (Math.random() < 0.3) await daemon.detach(attachment.key);
        await daemon.attach(attachment);
      }),
    ]);
    const killer = setTimeout(() => host.pid !== undefined && kill(host.pid), Math.random() * 40);
    const results = await work;
    clearTimeout(killer);
    expect(results.flatMap((result) => (result.status === "rejected" ? [result.reason.message] : []))).toEqual([]);
    if (round % 3 === 2) {
      // The daemon is killed, and the next one comes; so is, now and then, netd meanwhile.
      daemon.close();
      if (round % 2 === 0 && host.pid !== undefined) kill(host.pid);
      daemon = host.daemon();
      await Promise.all([daemon.hold([held]), ...attachments.map((attachment) => daemon.attach(attachment))]);
      await daemon.restored();
    }
    for (const [n, container] of containers.entries()) {
      const other = (n + 1) % containers.length;
      await eventually(async () => {
        expect(await container.ask(`c${other}`)).toEqual([`172.30.0.${other + 2}`]);
        return true;
      });
    }
    const bind = `require("net").createServer().on("error", (e) => console.log(e.code)).listen(8080, () => process.exit(1))`;
    await eventually(
      async () => (await host.network.attempt([process.execPath, "-e", bind])).stdout === "EADDRINUSE\n",
    );
  }
  await Promise.all([daemon.release([held]), ...attachments.map(({ key }) => daemon.detach(key))]);
  await eventually(() => host.pid === undefined);
  expect(host.errors).toEqual([]);
});

test.skipIf(!full)("one that stands still is replaced", async () => {
  await using host = await makeNetdHost();
  const daemon = host.daemon();
  const web = await host.container();
  await daemon.attach(web.as("n/web", [{ ...FRONT, address: "172.30.0.2", names: ["web"] }]));
  const pid = host.pid!;
  process.kill(pid, "SIGSTOP");
  expect(await daemon.hold([{ protocol: "tcp", addresses: ["0.0.0.0"], port: 8080 }])).toEqual([8080]);
  expect(host.pid).not.toBe(pid);
  expect(await web.ask("web")).toEqual(["172.30.0.2"]);
  expect(host.errors).toEqual([]);
});

test.skipIf(!full)("what is wrong with netd is told to who wants something of it", async () => {
  await using host = await makeNetdHost();
  const daemon = host.daemon();
  const web = await host.container();
  const attachment = web.as("n/web", [{ ...FRONT, address: "172.30.0.2", names: ["web"] }]);
  await expect(daemon.attach({ ...attachment, startTime: "1" })).rejects.toThrow("the process of n/web has ended");
  await expect(daemon.attach({ ...attachment, pid: host.network.pid, startTime: host.started })).rejects.toThrow(
    "n/web is in the host's network namespace",
  );
  await expect(
    daemon.attach(web.as("n/web", [{ ...FRONT, address: "172.30.0.2", names: ["x".repeat(20_000)] }])),
  ).rejects.toThrow("the names of a container are too long: more than 16384 bytes");
  await expect(daemon.attach(web.as("n/web", [{ ...FRONT, address: "x", names: [] }]))).rejects.toThrow(
    '"x" is no address',
  );
  await expect(daemon.update("n/web", attachment)).rejects.toThrow("n/web is not attached");
  await daemon.attach(attachment);
  expect(await web.ask("web")).toEqual(["172.30.0.2"]);
});

test.skipIf(!full)("100 containers take netd no more than 3 MB when it is at rest", async () => {
  await using host = await makeNetdHost();
  const daemon = host.daemon();
  // They share a few namespaces: what netd keeps of each is the same.
  const namespaces = await Promise.all(Array.from({ length: 4 }, () => host.container()));
  for (let n = 0; n < 100; n++) {
    const endpoint = { ...FRONT, address: `172.30.0.${n + 2}`, names: [`name-${n}`, `alias-${n}`, `c0ffee${n}`] };
    await daemon.attach(namespaces[n % 4]!.as(`default/${n}`, [endpoint]));
  }
  // At rest: the program's text has left the page table by then.
  await eventually(() => host.memory().rss < 3_000);
  for (let n = 0; n < 100; n++) expect(await namespaces[3]!.ask(`name-${n}`)).toEqual([`172.30.0.${n + 2}`]);
  await eventually(() => host.memory().rss < 3_000);
  expect(host.memory().pss).toBeLessThan(2_000);
});
