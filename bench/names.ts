/** A name asked for in a container beside a bare echo in the same namespace, and what netd takes with many containers. */
import { makeNetdHost, type NamedContainer, type NetdHost, question } from "../test/network/netd-host.js";
import { type Row, row } from "./row.js";

/** Containers share a few namespaces here: what netd keeps of each is the same. */
const NAMESPACES = 4;
const QUESTIONS = 2_000;
const ROUNDS = 100;
const ECHO_PORT = 5353;
const ECHO = `const socket = require("dgram").createSocket("udp4");
  socket.on("message", (message, from) => socket.send(message, from.port, from.address));
  socket.bind(${ECHO_PORT}, "127.0.0.1", () => console.log("ready"));`;

export async function nameRows(containers: number): Promise<Row[]> {
  await using host = await makeNetdHost();
  const daemon = host.daemon();
  const namespaces = await Promise.all(Array.from({ length: NAMESPACES }, () => host.container()));
  for (let n = 0; n < containers; n++) {
    const address = `172.30.${n >> 8}.${n & 255}`;
    const names = [`name-${n}`, `alias-${n}`, n.toString(16).padStart(12, "0")];
    const endpoint = { network: `network${n % 10}`, networkName: `net${n % 10}`, address, names };
    await daemon.attach(namespaces[n % NAMESPACES]!.as(`default/${n}`, [endpoint]));
  }
  const idle = await memoryAtRest(host);
  const [ours, echo] = await latencies(namespaces[(containers - 1) % NAMESPACES]!, `name-${containers - 1}`);
  const used = await memoryAtRest(host);
  daemon.close();
  return [
    row({
      name: "a name asked for in a container, p95",
      unit: "ms",
      ours,
      peer: { name: "an echo by Node in the same namespace", value: echo },
      aim: "<= 1",
      met: (value) => value <= 1,
    }),
    row({
      name: `netd, RSS with ${containers} containers`,
      unit: "MB",
      ours: Math.max(idle.rss, used.rss) / 1000,
      aim: "<= 3",
      met: (value) => value <= 3,
    }),
    row({
      name: `netd, PSS with ${containers} containers`,
      unit: "MB",
      ours: Math.max(idle.pss, used.pss) / 1000,
      aim: "<= 3",
      met: (value) => value <= 3,
    }),
  ];
}

/** When it has slept for a while. */
async function memoryAtRest(host: NetdHost): Promise<{ rss: number; pss: number; private: number }> {
  await new Promise((resolve) => setTimeout(resolve, 5_000));
  return host.memory();
}

/** The 95th percentiles, in ms, of both, asked in turns by the same client. */
async function latencies(container: NamedContainer, name: string): Promise<[number, number]> {
  const server = container.network.spawn(process.execPath, "-e", ECHO);
  await new Promise((resolve) => server.stdout!.once("data", resolve));
  const packet = question(name).toString("hex");
  const times: [number[], number[]] = [[], []];
  for (let n = 0; n < ROUNDS; n++)
    for (const [which, place] of [{}, { port: ECHO_PORT, address: "127.0.0.1" }].entries())
      times[which]!.push(...(await container.request<number[]>({ packet, measure: QUESTIONS / ROUNDS, ...place })));
  return times.map((all) => all.sort((a, b) => a - b)[Math.floor(all.length * 0.95)]! / 1000) as [number, number];
}
