/** What the engine tells of what happens. */
import { beforeAll, expect, test } from "vitest";
import { connect, type EngineEvent } from "../../src/client/index.js";
import { useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { IMAGE, importImage, NO_STDIO, newId, requestFor, texts } from "../harness/engine.js";
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
