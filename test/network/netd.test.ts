/** containerd-netd: names and ports of containers, by the daemon's own class, in network namespaces of the test's. */
import { expect, test } from "vitest";
import { PortTaken } from "../../src/core/network/netd/netd.js";
import { kill } from "../harness/processes.js";
import { eventually } from "../harness/wait.js";
import { makeNetdHost } from "./netd-host.js";

const NETWORK = { network: "0123456789ab", networkName: "front" };

test("containers find each other by name, also after netd was killed and under another daemon", async () => {
  await using host = await makeNetdHost();
  const questions = await host.nameServer("127.0.0.1");
  let daemon = host.daemon();
  const [web, db] = [await host.container(), await host.container()];
  const webIs = web.as("default/web", [{ ...NETWORK, address: "172.30.0.2", names: ["web", "Alias"] }]);
  const dbIs = db.as("default/db", [
    { ...NETWORK, address: "172.30.0.3", address6: "fd00::3", names: ["db", "c0ffee"] },
  ]);
  await daemon.attach(webIs);
  expect(await web.ask("web")).toEqual(["172.30.0.2"]);
  await daemon.attach(dbIs);
  expect(await web.ask("DB")).toEqual(["172.30.0.3"]);
  expect(await web.ask("c0ffee.front", "AAAA")).toEqual(["fd00::3"]);
  expect(await db.ask("alias")).toEqual(["172.30.0.2"]);
  expect(await db.ask("web", "AAAA")).toBe("ENODATA");
  expect(await web.ask("3.0.30.172.in-addr.arpa", "PTR")).toEqual(["db.front"]);
  expect(await web.ask("outside.example")).toEqual(["192.0.2.1"]);
  expect(questions.map((line) => line.split(" ").slice(0, 3))).toEqual([["udp", "outside.example", "1"]]);
  const [port] = await daemon.hold([{ protocol: "tcp", addresses: ["0.0.0.0"], port: 0 }]);

  const first = host.pid!;
  kill(first);
  await eventually(async () => (await db.ask("alias")) !== "ECONNREFUSED");
  expect(await db.ask("alias")).toEqual(["172.30.0.2"]);
  expect(host.pid).not.toBe(first);
  await expect(daemon.hold([{ protocol: "tcp", addresses: ["127.0.0.1"], port: port! }])).rejects.toThrow(PortTaken);

  const second = host.pid;
  daemon = host.daemon();
  expect(await web.ask("db")).toEqual(["172.30.0.3"]);
  await daemon.attach(webIs);
  await daemon.restored();
  expect(await web.ask("db.front.")).not.toEqual(["172.30.0.3"]);
  expect(host.pid).toBe(second);
  await daemon.detach("default/web");
  await eventually(() => host.pid === undefined);
  expect(host.errors).toEqual([]);
  expect(host.log).toBe("");
});
