import { afterAll, beforeAll, expect, test } from "vitest";
import type { CreatedContainer } from "../../../src/client/index.js";
import { importRootfs, useClient } from "../../harness/client.js";
import { endedInTime, eventually } from "../../harness/wait.js";
import { startProgram } from "../typescript-program.js";

const here = useClient();
const image = "job:1";

beforeAll(async () => {
  await importRootfs(here.client, image);
});
afterAll(async () => {
  expect(await here.client.containers.list()).toEqual([]);
  await here.client.images.prune({ all: true });
});

/** A container for one job, which ends and goes with this program. */
const job = (number = 0): Promise<CreatedContainer> =>
  here.client.containers.start({
    image,
    pull: "never",
    args: ["sleep", "100000"],
    init: true,
    owned: true,
    labels: { job: String(number) },
    env: { CI: "true" },
    limits: { memory: 128 << 20, pids: 100 },
  });

const processes = async (container: CreatedContainer, what: string): Promise<number> => {
  const { stdout } = await container.exec(["sh", "-c", `ps -o args | grep -c '^${what}'`], {
    stdioDir: here.daemon.dir,
  });
  return Number(stdout);
};

test("steps see what earlier ones have left, and tell as they go", async () => {
  await using container = await job();
  const step = (script: string, more = {}) =>
    container.exec(["sh", "-c", script], { stdioDir: here.daemon.dir, workdir: "/var", ...more });
  await container.putFiles("/var", { "build.sh": "echo compiling >&2; echo made by $CI >result\n" });
  expect(await step("sh build.sh")).toMatchObject({ status: 0, stdout: "", stderr: "compiling\n" });
  expect(await step("cat result; echo $STEP", { env: { STEP: "two" } })).toMatchObject({
    stdout: "made by true\ntwo\n",
  });
  expect(await step("echo broken; exit 42")).toMatchObject({ status: 42, stdout: "broken\n" });
  expect(await step("kill -9 $$")).toMatchObject({ status: 137 });
  // The step goes on only when what it has said has arrived.
  const told: string[] = [];
  const live = step("echo one; until [ -e go ]; do sleep 0.05; done; echo two", {
    onStdout: (text: string) => {
      told.push(text);
      if (told.length === 1) void container.writeFile("/var/go", "");
    },
  });
  expect(await live).toMatchObject({ status: 0, stdout: "one\ntwo\n" });
  expect(told.join("")).toBe("one\ntwo\n");
  expect((await container.readFile("/var/result")).trim()).toBe("made by true");
});

test("a step that is cancelled ends with its children; the job goes on", async () => {
  await using container = await job();
  const controller = new AbortController();
  const cancelled = container.exec(["sh", "-c", "sleep 4321 & sleep 4321 & echo begun; wait"], {
    signal: controller.signal,
    stdioDir: here.daemon.dir,
    onStdout: () => controller.abort(new Error("cancelled by its author")),
  });
  await expect(cancelled).rejects.toThrow("cancelled by its author");
  await eventually(async () => (await processes(container, "sleep 4321")) === 0, { what: "the end of the children" });
  const args = ["sh", "-c", "echo begun; sleep 4322 & wait"];
  const late = await endedInTime(
    (timeout) => container.exec(args, { timeout, stdioDir: here.daemon.dir }).catch((error) => error),
    ({ stdout }) => Boolean(stdout),
  );
  expect(late).toMatchObject({ timedOut: true, stdout: "begun\n" });
  await eventually(async () => (await processes(container, "sleep 4322")) === 0, { what: "the end of the children" });
  expect(await container.exec(["echo", "next"], { stdioDir: here.daemon.dir })).toMatchObject({ stdout: "next\n" });
  expect((await container.inspect()).execIds).toEqual([]);
});

test("jobs beside each other know nothing of each other", async () => {
  const run = async (number: number) => {
    await using container = await job(number);
    const options = { stdioDir: here.daemon.dir };
    await container.exec(["sh", "-c", `echo ${number} >/tmp/mine`], options);
    const { stdout } = await container.exec(["sh", "-c", "cat /tmp/mine; ls /tmp | wc -l; hostname"], options);
    return stdout === `${number}\n1\n${container.id.slice(0, 12)}\n`;
  };
  expect(await Promise.all([0, 1, 2, 3, 4].map(run))).toEqual([true, true, true, true, true]);
});

test("of a runner that is killed nothing stays", async () => {
  const script = `
    import { connect } from "containerd-ts";
    const client = connect();
    const jobs = await Promise.all([0, 1, 2].map((number) => client.containers.start({
      image: "${image}", args: ["sleep", "100000"], owned: true, writable: true, labels: { job: String(number) } })));
    for (const job of jobs) job.exec(["sh", "-c", "echo step; sleep 100000"], { onStdout: (text) => process.stdout.write(text) });`;
  using runner = await startProgram(here.daemon, { script });
  await runner.printed("step\nstep\nstep\n");
  expect(await here.client.containers.list({ status: "running", labels: { job: true } })).toHaveLength(3);
  runner.child.kill("SIGKILL");
  await eventually(async () => (await here.client.containers.list()).length === 0, { what: "the end of the jobs" });
});

test("a runner that is killed while the daemon is away: the next daemon clears up", async () => {
  const script = `
    import { connect } from "containerd-ts";
    await connect().containers.start({ image: "${image}", args: ["sleep", "100000"], owned: true });
    console.log("started");
    setInterval(() => {}, 1000);`;
  using runner = await startProgram(here.daemon, { script });
  await runner.printed("started");
  await here.daemon.kill();
  runner.child.kill("SIGKILL");
  await runner.result;
  await here.daemon.start();
  await eventually(async () => (await here.client.containers.list()).length === 0, { what: "the end of the job" });
});
