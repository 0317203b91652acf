/** Containers on a bridge network beside Docker, podman, CNI's plugins and containers without one, each engine in a network of its own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeNetworkNamespace, NetworkNamespace } from "../test/harness/network-namespace.js";
import { eventually } from "../test/harness/wait.js";
import { CniPlugins } from "./cni-plugins.js";
import {
  BUSYBOX,
  DOCKERODE,
  inTurns,
  LONG_ROUNDS,
  LONG_SETTLE,
  PODMAN,
  PODMAN_API,
  PYTHON,
  rateRow,
  rowsOf,
  runOurs,
  runTheirs,
  Stage,
} from "./engine-stage.js";
import { atMost, median, type Row, row } from "./row.js";

const AT_ONCE = 20;
/** In GB: of one transfer. */
const TRANSFER = 2;
const PORT = 5201;
/** Where `connect` of network namespaces has the host, for its neighbour. */
const HOST_ADDRESS = "10.99.0.1";

const SERVER = `import socket
server = socket.create_server(("", ${PORT}))
buffer = bytearray(1 << 20)
while True:
    connection, _ = server.accept()
    received = 0
    while count := connection.recv_into(buffer): received += count
    connection.sendall(str(received).encode())
    connection.close()`;
/** Prints the seconds that it has taken until the server has said that it has all. */
const CLIENT = `import socket, sys, time
buffer, total = bytes(1 << 20), int(float(sys.argv[1]) * 1000)
began = time.monotonic()
connection = socket.create_connection(("${HOST_ADDRESS}", ${PORT}))
for _ in range(total): connection.sendall(buffer)
connection.shutdown(socket.SHUT_WR)
received = int(connection.recv(100) or 0)
if received != total << 20: sys.exit(f"{received} bytes have come of {total << 20}")
print(time.monotonic() - began)`;

/** @param rounds how often each is measured, at least 3 */
export async function* networkPeerRows(rounds: number): AsyncIterable<Row> {
  await using stage = new Stage();
  await stage.start();
  yield* await runs(stage, rounds);
  yield await manyAtOnce(stage, Math.min(LONG_ROUNDS, rounds));
  yield await throughput(stage, rounds);
}

async function runs(stage: Stage, rounds: number): Promise<Row[]> {
  const { podman } = stage;
  const [without, published, cni] = ["the same without a network", "with a published port", "CNI's plugins"];
  const directory = mkdtempSync(join(tmpdir(), "ctd-bench-cni-"));
  try {
    await using host = await makeNetworkNamespace();
    await using container = await makeNetworkNamespace();
    using plugins = new CniPlugins(host, container, join(directory, "leases"));
    const bare = ["--network", "bridge", "--cgroup-parent", podman.cgroup];
    const times = await inTurns(
      {
        ours: () => runOurs(stage, BUSYBOX, ["true"], { network: "bridge" }),
        [without]: () => runOurs(stage, BUSYBOX, ["true"]),
        [published]: () => runOurs(stage, BUSYBOX, ["true"], { network: "bridge", ports: ["8080:80"] }),
        [DOCKERODE]: () => runTheirs(stage.dockerode, BUSYBOX, ["true"], { NetworkMode: "bridge" }),
        [PODMAN]: () => podman.podman("run", "--rm", "--pull=never", ...bare, BUSYBOX, "true"),
        [PODMAN_API]: () =>
          runTheirs(stage.podmanApi, BUSYBOX, ["true"], { NetworkMode: "bridge", CgroupParent: podman.cgroup }),
        [cni]: () => plugins.addAndDelete(),
      },
      rounds,
    );
    const of = (name: string) => median(times.get(name)!);
    return [
      ...rowsOf("client.run of true on a bridge network", times, {
        [DOCKERODE]: 0.4,
        [PODMAN]: 0.5,
        [PODMAN_API]: 0.5,
        [without]: 1.5,
      }),
      row({
        name: "what a bridge network and a published port add to it",
        unit: "ms",
        // It can't be told from nothing where it is lost in what else the machine does.
        ours: Math.max(of(published) - of(without), 0),
        peer: { name: "CNI's bridge, portmap and firewall alone, ADD + DEL", value: of(cni) },
        ...atMost(0.3),
      }),
    ];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function manyAtOnce(stage: Stage, rounds: number): Promise<Row> {
  const many = (one: () => Promise<void>) => () => Promise.all(Array.from({ length: AT_ONCE }, one));
  const contenders = {
    ours: many(() => runOurs(stage, BUSYBOX, ["true"], { network: "bridge" })),
    [DOCKERODE]: many(() => runTheirs(stage.dockerode, BUSYBOX, ["true"], { NetworkMode: "bridge" })),
  };
  const times = await inTurns(contenders, rounds, 1, LONG_SETTLE);
  return rateRow(`client.run on a bridge network, ${AT_ONCE} at once`, "1/s", AT_ONCE, times, 2);
}

/** From a neighbour of each host, by a cable, to a published port. */
async function throughput({ client, network, docker, dockerode }: Stage, rounds: number): Promise<Row> {
  const args = ["python3", "-c", SERVER];
  await using dockersNeighbour = await makeNetworkNamespace();
  await new NetworkNamespace(docker.pid).connect(dockersNeighbour);
  await using neighbour = await makeNetworkNamespace();
  await network.connect(neighbour);
  const ours = await client.containers.start({
    ...{ image: PYTHON, args, network: "bridge", pull: "never" },
    ports: [`${PORT}:${PORT}`],
  });
  const theirs = await dockerode.createContainer({
    ...{ Image: PYTHON, Cmd: args, ExposedPorts: { [`${PORT}/tcp`]: {} } },
    HostConfig: { NetworkMode: "bridge", PortBindings: { [`${PORT}/tcp`]: [{ HostPort: `${PORT}` }] } },
  });
  try {
    await theirs.start();
    const send = async (from: NetworkNamespace, gigabytes: number) => {
      const { code, stdout, stderr } = await from.attempt(["python3", "-c", CLIENT, `${gigabytes}`]);
      if (code !== 0) throw new Error(`a transfer to a published port: ${stderr}`);
      return Number(stdout) * 1000;
    };
    for (const from of [neighbour, dockersNeighbour]) await eventually(() => send(from, 0.001).catch(() => false));
    const times = await inTurns(
      {
        ours: () => send(neighbour, TRANSFER),
        "dockerd 20.10 with --userland-proxy=false": () => send(dockersNeighbour, TRANSFER),
      },
      rounds,
      1,
    );
    return rateRow("a published TCP port", "GB/s", (TRANSFER * 1000 * 2 ** 20) / 1e9, times, 0.95);
  } finally {
    await Promise.all([ours.remove({ force: true }), theirs.remove({ force: true })]);
  }
}
