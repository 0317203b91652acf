/** Clients that wait for an exit for a while, again and again: the daemon keeps nothing of those who have gone. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { startDaemon } from "../harness/daemon.js";
import { full } from "../harness/extent.js";
import { startTask } from "../harness/task.js";
import { get, listening } from "../operations/http-get.js";

/** How many waits are called off, and how many of them go on at a time. */
const WAITS = 500;
const AT_A_TIME = 50;
/** In ms: for how long each waits. */
const TIME = 50;

test.skipIf(!full)("waits that are called off leave nothing that waits for the exit", async () => {
  // A socket's directory has to be there before its daemon.
  await using elsewhere = await startDaemon();
  const socket = join(elsewhere.dir, "p");
  await using daemon = await startDaemon({ flags: ["--pprof-address", `unix://${socket}`] });
  await listening(daemon, "--pprof-address");
  const api = daemon.v1("test");
  await using task = await startTask(daemon, api, { name: "t", args: ["sleep", "100000"] });
  const callOff = async (count: number) => {
    for (let done = 0; done < count; done += AT_A_TIME) {
      const wait = () => api.tasks.wait({ containerId: task.id }, { timeout: TIME });
      await Promise.all(Array.from({ length: AT_A_TIME }, () => expect(wait()).rejects.toThrow(/DEADLINE_EXCEEDED/)));
    }
  };
  await callOff(AT_A_TIME);
  const before = await reactions(socket);
  expect(before).toBeGreaterThan(0);
  await callOff(WAITS);
  expect((await reactions(socket)) - before).toBeLessThan(WAITS / 2);
});

/** How many functions wait for promises of the daemon's to be settled. */
async function reactions(socket: string): Promise<number> {
  const { nodes, strings, snapshot } = JSON.parse((await get(socket, "/debug/pprof/heap")).body) as HeapSnapshot;
  const fields = snapshot.meta.node_fields;
  const name = fields.indexOf("name");
  let count = 0;
  for (let at = name; at < nodes.length; at += fields.length) {
    if (strings[nodes[at]!] === "system / PromiseReaction") count++;
  }
  return count;
}

interface HeapSnapshot {
  snapshot: { meta: { node_fields: string[] } };
  nodes: number[];
  strings: string[];
}
