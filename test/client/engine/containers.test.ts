import { text } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type CreatedContainer, RunError } from "../../../src/client/index.js";
import { importRootfs, removeAll, useClient } from "../../harness/client.js";
import { endedInTime } from "../../harness/wait.js";

const here = useClient();
const image = "base:1";
let container: CreatedContainer;

beforeAll(async () => {
  await importRootfs(here.client, image);
  container = await start();
});
afterEach(async () => {
  expect((await here.client.containers.list()).map(({ id }) => id)).toEqual([container.id]);
});
afterAll(async () => {
  await removeAll(here.client);
  await here.client.images.prune({ all: true });
});

const start = (more = {}) => here.client.containers.start({ image, pull: "never", args: ["sleep", "1000"], ...more });

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail("it went well"),
    (error: unknown) => error as RunError,
  );

test("run is given input, and its end", async () => {
  const input = `${"x".repeat(200_000)}\n`;
  const { stdout } = await here.client.run({ image, pull: "never", userns: "host", args: ["wc", "-c"], input });
  expect(stdout.trim()).toBe("200001");
});

test("exec: input, status, timeout, too much output", async () => {
  expect(await container.exec(["sh", "-c", "cat; exit 4"], { input: "hello" })).toMatchObject({
    stdout: "hello",
    status: 4,
  });
  const late = await endedInTime(
    (timeout) => failure(container.exec(["sh", "-c", "echo begun; exec sleep 1000"], { timeout })),
    ({ stdout }) => Boolean(stdout),
  );
  expect(late).toBeInstanceOf(RunError);
  expect(late).toMatchObject({ timedOut: true, stdout: "begun\n" });
  expect(await failure(container.exec(["yes"], { maxOutput: 5000 }))).toMatchObject({ reason: "output" });
  const { stdout } = await container.exec(["ps", "-o", "args"]);
  expect(stdout).not.toMatch(/yes|sleep 1000\n.*sleep 1000/s);
});

test("exec: what it has left in the background, with its output open, is killed when its time is over", async () => {
  const late = await endedInTime(
    (timeout) => failure(container.exec(["sh", "-c", "sleep 2000 & echo begun"], { timeout })),
    ({ stdout }) => Boolean(stdout),
  );
  expect(late).toMatchObject({ timedOut: true, stdout: "begun\n" });
  expect((await container.exec(["ps", "-o", "args"])).stdout).not.toContain("sleep 2000");
});

test("exec: a working directory that is not there is told by the option's name", async () => {
  expect(await failure(container.exec(["true"], { workdir: "/none/such" }))).toMatchObject({
    kind: "bad-cwd",
    message: expect.stringMatching(/workdir must be a folder in the container/),
  });
});

test("spawn with a terminal, whose size changes", async () => {
  await using shell = await container.spawn(["sh"], { tty: true });
  await shell.resize(91, 17);
  const output = text(shell.stdout);
  shell.stdin.write("stty size; [ -t 0 ] && exit 3\n");
  expect(await shell.wait()).toMatchObject({ status: 3 });
  expect(await output).toContain("17 91");
});

test("paused, resumed; figures, once and as they change", async () => {
  await container.pause();
  expect(await container.state()).toBe("paused");
  await container.resume();
  expect(await container.state()).toBe("running");
  const figures = await container.stats();
  expect(figures.memory.usage).toBeGreaterThan(0);
  let samples = 0;
  for await (const sample of container.watchStats({ interval: 50 })) {
    expect(sample.pids).toBeDefined();
    if (++samples === 3) break;
  }
  expect(samples).toBe(3);
});

test("its limits change, and its name", async () => {
  await container.update({ limits: { memory: 48 << 20 } });
  expect((await container.stats()).memory.limit).toBe(48 << 20);
  await container.rename("other");
  expect((await here.client.containers.get("other")).id).toBe(container.id);
  expect(await container.inspect()).toMatchObject({ name: "other" });
});

test("prune takes what does not run, by label", async () => {
  const labels = { job: "1" };
  const stopped = await start({ args: ["true"], labels });
  await stopped.wait();
  const kept = await start({ args: ["true"] });
  await kept.wait();
  expect((await here.client.containers.prune({ labels })).removed).toEqual([stopped.id]);
  expect((await here.client.containers.prune()).removed).toEqual([kept.id]);
});
