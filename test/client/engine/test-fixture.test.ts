/** A user: the tests of a program, which start real servers, wait until these are ready, and leave nothing. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, connect } from "../../../src/client/index.js";
import { expectNoNetworks } from "../../harness/check-networks.js";
import { startDaemon, type TestDaemon } from "../../harness/daemon.js";
import { times } from "../../harness/extent.js";
import { makeNetworkNamespace, type NetworkNamespace } from "../../harness/network-namespace.js";
import { hasServer, importServer } from "../../harness/server-images.js";
import { startProgram } from "../typescript-program.js";

let host: NetworkNamespace;
let daemon: TestDaemon;
let client: Client;

beforeAll(async () => {
  host = await makeNetworkNamespace();
  daemon = await startDaemon({ wrapper: host.enter() });
  client = connect(daemon.listen);
  if (hasServer("redis-server")) await importServer(client, "redis-server", "redis:7");
});

afterAll(async () => {
  client?.close();
  await daemon?.[Symbol.asyncDispose]();
  await host?.[Symbol.asyncDispose]();
});

/** A program of tests, on the host: each of its tests has a server of its own, on a port that nobody else has. */
const text = `
  import { once } from "node:events";
  import { createConnection } from "node:net";
  import { connect } from "containerd-ts";

  const client = connect();

  async function ask(port: number, ...commands: string[]): Promise<string[]> {
    const socket = createConnection({ host: "127.0.0.1", port });
    await once(socket, "connect");
    socket.setEncoding("utf8");
    let answer = "";
    socket.on("data", (text) => { answer += text; });
    socket.end([...commands, "QUIT", ""].join("\\r\\n"));
    await once(socket, "close");
    return answer.trim().split("\\r\\n");
  }

  async function oneTest(number: number): Promise<number> {
    await using redis = await client.containers.start({
      image: "redis:7",
      pull: "never",
      owned: true,
      ports: ["127.0.0.1::6379"],
      waitFor: [{ log: "Ready to accept connections" }, "ports"],
      readyTimeout: 120_000,
    });
    const port = await redis.port(6379);
    const answers = await ask(port, "PING", "SET number " + number, "INCR number", "DBSIZE");
    if (answers.join() !== "+PONG,+OK,:" + (number + 1) + ",:1,+OK") throw new Error(number + ": " + answers.join());
    return port;
  }

  const count = Number(process.argv[2]);
  const ports = await Promise.all(Array.from({ length: count }, (_, number) => oneTest(number)));
  console.log(new Set(ports).size);
  client.close();
`;

test.skipIf(!hasServer("redis-server"))(
  "servers beside each other, each ready when its test begins, and gone with it",
  async () => {
    const count = times(20, 3);
    using program = await startProgram(daemon, { text }, [String(count)], {}, host.enter());
    expect(await program.result).toMatchObject({ status: 0, stderr: "", stdout: `${count}\n` });
    expect(await client.containers.list()).toEqual([]);
    expect(await client.volumes.list()).toEqual([]);
    await expectNoNetworks(host);
  },
);
