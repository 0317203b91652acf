import { afterAll, beforeAll, expect, test } from "vitest";
import { importRootfs, removeAll, useClient } from "../../harness/client.js";
import { full } from "../../harness/extent.js";
import { eventually } from "../../harness/wait.js";
import { startProgram } from "../typescript-program.js";

const here = useClient();
const image = "job:1";

beforeAll(async () => {
  await importRootfs(here.client, image);
});
afterAll(async () => {
  await removeAll(here.client);
  await here.client.images.prune({ all: true });
});

/** One that was only created, one that runs, one that is paused, one that has stopped, a run; and one that is nobody's. */
const script = `
  import { connect } from "containerd-ts";
  const client = connect();
  const sleep = { image: "${image}", pull: "never", args: ["sleep", "100000"], writable: true };
  const owned = { ...sleep, owned: true };
  await client.containers.create({ ...owned, name: "created" });
  await (await client.containers.create({ ...owned, name: "running" })).start();
  await (await client.containers.start({ ...owned, name: "paused" })).pause();
  await (await client.containers.start({ ...owned, name: "stopped" })).stop({ grace: 0 });
  await client.containers.start({ ...sleep, name: "free" });
  void client.run({ ...sleep, userns: "host", name: "run" }).catch(() => {});
  for (;;) {
    const names = (await client.containers.list({ names: ["run"], status: "running" })).length;
    if (names > 0) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  console.log("up");
  setInterval(() => {}, 1000);`;

const names = async () => (await here.client.containers.list()).map(({ info }) => info?.name).toSorted();
const layers = async () => (await here.daemon.v1().listSnapshots("overlayfs", "kind==active")).length;

test.skipIf(!full).each(["there", "away"])("a program that is killed while the daemon is %s", async (daemon) => {
  using program = await startProgram(here.daemon, { script });
  await program.printed("up");
  expect(await names()).toEqual(["created", "free", "paused", "run", "running", "stopped"]);
  if (daemon === "away") await here.daemon.kill();
  program.child.kill("SIGKILL");
  await program.result;
  if (daemon === "away") await here.daemon.start();
  await eventually(async () => expect(await names()).toEqual(["free"]), { what: "the end of what belonged to it" });
  expect((await here.daemon.v1().tasks.list()).tasks).toHaveLength(1);
  expect((await here.daemon.v1().containers.list()).containers).toHaveLength(1);
  expect(await layers()).toBe(1);
  const [free] = await here.client.containers.list();
  expect(await free!.state()).toBe("running");
  await free!.remove({ force: true });
  expect(await layers()).toBe(0);
});
