/** What the engine tells of what happens. */
import { once } from "node:events";
import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { connect, type EngineEvent } from "../../src/client/index.js";
import { EventsRequest } from "../../src/proto/containerdts/engine/v1/engine.js";
import { useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { type Config, IMAGE, importImage, NO_STDIO, newId, requestFor, texts } from "../harness/engine.js";
import { full } from "../harness/extent.js";
import { importVolumesImage, VOLUMES_IMAGE, volumeAt } from "../harness/volumes.js";
import { eventually, within } from "../harness/wait.js";

const fixture = useContainerd1();
let daemon: TestDaemon;

beforeAll(async () => {
  daemon = fixture.daemon;
  await importImage(daemon);
});

test("what happens to containers is told in order, once, also what happens while no daemon is there", async () => {
  await using client = connect(daemon.listen);
  const events: EngineEvent[] = [];
  const leave = new AbortController();
  const following = (async () => {
    for await (const event of client.events({ since: 0, signal: leave.signal })) events.push(event);
  })();
  following.catch(() => {});
  const actions = (id: string) => events.filter((event) => event.id === id).map(({ action }) => action);
  const api = () => daemon.v1().engine;
  const id = newId(daemon);
  const config = { args: texts("sleep", "1000"), labels: { app: "web" } };
  await api().create(requestFor({ id, name: "web", config }));
  await api().start({ id, stdio: NO_STDIO });
  await api().pause({ id });
  await api().resume({ id });
  const { execId } = await api().exec({ id, args: ["sh", "-c", "exit 3"], stdio: NO_STDIO });
  await api().wait({ id, execId });
  await api().rename({ id, name: "other" });
  const { pid } = await api().get({ id });
  await daemon.kill();
  process.kill(pid, "SIGKILL");
  await daemon.start();
  await eventually(() => expect(actions(id)).toContain("die"));
  await api().restart({ id, stdio: NO_STDIO });
  await api().stop({ id, grace: 0n });
  await api().remove({ id });
  await eventually(() => expect(actions(id)).toContain("remove"));
  const exec = ["exec-create", "exec-start", "exec-die"];
  const first = ["create", "start", "pause", "resume", ...exec, "rename", "die"];
  expect(actions(id)).toEqual([...first, "start", "restart", "kill", "die", "stop", "remove"]);
  const [created] = events.filter((event) => event.id === id);
  expect(created).toMatchObject({
    type: "container",
    name: "web",
    labels: { app: "web" },
    attributes: { image: IMAGE },
  });
  expect(events.find(({ action }) => action === "exec-die")?.attributes).toMatchObject({ exec: execId, status: "3" });
  expect(events.find(({ action }) => action === "die")?.attributes).toMatchObject({ status: "137" });
  leave.abort(new Error("enough"));
  await expect(within(following, "the end of the events")).rejects.toThrow("enough");

  // Of networks and volumes, too.
  const network = await daemon.v1().networks.create({ name: "backend", labels: {} });
  await daemon.v1().networks.remove({ network: "backend" });
  const others = client.events({ since: 0, types: ["network"] });
  for (const action of ["create", "remove"])
    expect((await others.next()).value).toMatchObject({ action, id: network.id, name: "backend" });
  await others.return();

  // Who comes later is told what is kept, of what it asks for.
  const since = events.find(({ action }) => action === "rename")!.timestamp;
  const wanted = client.events({ since, objects: [id], actions: ["start", "die"], labels: ["app=web"] });
  for (const action of ["die", "start", "die"]) expect((await wanted.next()).value).toMatchObject({ action, id });
  await wanted.return();
});

/** The next events of what follows them. */
async function take(events: AsyncGenerator<EngineEvent>, count: number): Promise<EngineEvent[]> {
  const taken: EngineEvent[] = [];
  while (taken.length < count) taken.push((await events.next()).value);
  return taken;
}

const shown = (events: EngineEvent[]) => events.map(({ action, name }) => `${action} ${name}`);

test.skipIf(!full)("of volumes: also those that a container makes, and that go with it", async () => {
  await importVolumesImage(daemon);
  await using client = connect(daemon.listen);
  const api = daemon.v1();
  const events = client.events({ types: ["volume"], since: new Date() });
  const id = newId(daemon);
  const config: Config = { image: VOLUMES_IMAGE, mounts: [volumeAt("named", "/named")], args: texts("sleep", "1000") };
  await api.engine.run({ create: requestFor({ id, config }), stdio: NO_STDIO });
  const { volumes } = await api.volumes.list({});
  const made = volumes.map(({ name }) => name).sort();
  expect(volumes.filter(({ anonymous }) => anonymous)).toHaveLength(2);
  expect(shown(await take(events, 3)).sort()).toEqual(made.map((name) => `create ${name}`));
  await api.engine.remove({ id, force: true });
  const own = made.filter((name) => name !== "named");
  expect(shown(await take(events, 2)).sort()).toEqual(own.map((name) => `remove ${name}`));
  // What is there already is not made once more.
  for (let n = 0; n < 2; n++) await api.volumes.create({ name: "labelled", labels: { app: "db" } });
  await api.volumes.prune({ all: true });
  const rest = await take(events, 3);
  expect(shown(rest.slice(0, 1))).toEqual(["create labelled"]);
  expect(shown(rest.slice(1)).sort()).toEqual(["remove labelled", "remove named"]);
  expect(rest.find(({ name }) => name === "labelled")).toMatchObject({ labels: { app: "db" } });
  await events.return();
});

test.skipIf(!full)(
  "of networks: what a container is put on and taken off, and that which is made at its first use",
  async () => {
    await using client = connect(daemon.listen);
    const api = daemon.v1();
    const events = client.events({ types: ["network"], since: new Date() });
    const backend = await api.networks.create({ name: "backend", labels: { tier: "back" } });
    const id = newId(daemon);
    // It does not run: nothing is done to this machine's network.
    await api.engine.create(requestFor({ id, config: { args: texts("true"), networks: [on("bridge")] } }));
    await api.networks.connect({ container: id, attachment: on("backend") });
    await api.networks.disconnect({ container: id, network: "backend" });
    await api.networks.remove({ network: "backend" });
    const seen = await take(events, 5);
    const about = ["create backend", "create bridge", "connect backend", "disconnect backend", "remove backend"];
    expect(shown(seen)).toEqual(about);
    expect(seen[2]).toMatchObject({ id: backend.id, labels: { tier: "back" }, attributes: { container: id } });
    expect(seen[4]).toMatchObject({ id: backend.id, labels: { tier: "back" } });
    await events.return();
    await api.engine.remove({ id });
    await api.networks.remove({ network: "bridge" });
  },
);

const on = (network: string) => ({ network, aliases: [], address: "", address6: "", mac: "" });

test.skipIf(!full)("a process that is killed for want of memory, a checkpoint", async () => {
  await using client = connect(daemon.listen);
  const api = daemon.v1();
  const id = newId(daemon);
  const events = client.events({ objects: [id], actions: ["oom", "checkpoint", "die"], since: new Date() });
  const resources = { memory: 20_000_000n, memorySwap: 20_000_000n } as Config["resources"];
  const config: Config = { args: texts("sleep", "1000"), resources };
  await api.engine.run({ create: requestFor({ id, config }), stdio: NO_STDIO });
  const args = ["sh", "-c", "cat /dev/zero | head -c 200000000 | tail"];
  const { execId } = await api.engine.exec({ id, args, stdio: NO_STDIO });
  await api.engine.wait({ id, execId });
  expect(await take(events, 1)).toMatchObject([{ action: "oom", attributes: { image: IMAGE } }]);
  await api.engine.checkpoint({ id, ref: "saved" });
  const rest = await eventuallyTold(events);
  expect(rest.map(({ action }) => action)).toContain("die");
  expect(rest.find(({ action }) => action === "checkpoint")?.attributes.path).toContain("saved");
  await events.return();
  await api.engine.remove({ id });
});

/** Up to the end of its container and its checkpoint, which come in any order; of more processes that were killed nothing is asked. */
async function eventuallyTold(events: AsyncGenerator<EngineEvent>): Promise<EngineEvent[]> {
  const seen: EngineEvent[] = [];
  const has = (wanted: string) => seen.some(({ action }) => action === wanted);
  while (!has("die") || !has("checkpoint")) seen.push(...(await take(events, 1)));
  return seen;
}

test.skipIf(!full)("who asks for events that are not kept any more is told so", async () => {
  await using client = connect(daemon.listen);
  const ask = async (since: EngineEvent["timestamp"]) => {
    let missed = 0;
    const events = client.events({ since, types: ["volume"], onMissed: () => missed++ });
    const [first] = await take(events, 1);
    await events.return();
    return { missed, first: first! };
  };
  await daemon.v1().volumes.create({ name: "first" });
  const all = client.events({ since: 0, objects: ["first"] });
  const [before] = await take(all, 1);
  await all.return();
  await daemon.v1().volumes.create({ name: "second" });
  expect(await ask(before!.timestamp)).toMatchObject({ missed: 0, first: { name: "second" } });
  // As if very much had happened.
  await daemon.kill();
  const path = join(daemon.root, "engine", "events.log");
  const [latest] = readFileSync(path, "utf8").trimEnd().split("\n").slice(-1);
  const { time, ...event } = JSON.parse(latest!);
  const later = Array.from({ length: 3_000 }, (_, n) => ({ ...event, time: `${BigInt(time) + BigInt(n + 1)}` }));
  appendFileSync(path, later.map((line) => `${JSON.stringify(line)}\n`).join(""));
  await daemon.start();
  const late = await ask(before!.timestamp);
  expect(late.missed).toBe(1);
  expect(await ask(late.first.timestamp)).toMatchObject({ missed: 0 });
  await daemon.v1().volumes.prune({ all: true });
});

test.skipIf(!full)("who asks for events of a time to come is told where to go on", async () => {
  const { volumes, engineStreams } = daemon.v1();
  await volumes.create({ name: "last" });
  const seconds = BigInt(Date.now()) / 1_000n + 86_400n;
  const stream = engineStreams.events(EventsRequest.fromPartial({ since: { seconds, nanos: 0 } }));
  stream.on("error", () => {});
  const [first] = await within(once(stream, "data"), "the first answer");
  expect(first.type).toBe("");
  expect(first.time.seconds).toBeLessThan(seconds);
  stream.cancel();
  await volumes.remove({ name: "last" });
});
