/** Processes that join a running container, each with a shim of its own. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type ProcessOptions, Sandbox, type Shim, until } from "./stand-in-daemon.js";

let sandbox: Sandbox;
let id: string;
let bundle: string;
let init: Shim;
beforeEach(async () => {
  sandbox = new Sandbox();
  id = sandbox.id();
  bundle = sandbox.bundle(id, ["sleep", "600"]);
  init = sandbox.shim(id, bundle);
  await init.start();
});
afterEach(() => sandbox.clean());

const exec = (args: string[], options: ProcessOptions = {}) =>
  sandbox.shim(id, bundle, { exec: true, args, ...options });

test("an exec is created, which starts it, and ends by itself", async () => {
  const stdout = sandbox.fifo("stdout");
  const shim = exec(["sh", "-c", "hostname; exit 5"], { stdout });
  const output = sandbox.reader(stdout);
  expect(await shim.channel!.receive()).toBe(`created ${shim.processPid}`);
  expect(await shim.end()).toBe(0);
  expect((await output.text).toString()).toBe("busybox\n");
  expect(shim.exitStatus).toBe("5");
  // The container is not the exec's to delete.
  expect(sandbox.containers).toEqual([id]);
  expect(init.exitStatus).toBeUndefined();
});

test("many at once end with their own statuses", async () => {
  const shims = Array.from({ length: 10 }, (_, index) => exec(["sh", "-c", `exit ${index}`]));
  await Promise.all(shims.map((shim) => shim.end()));
  expect(shims.map((shim) => shim.exitStatus)).toEqual(shims.map((_, index) => `${index}`));
});

test("its exit is told when its output is closed, not before", async () => {
  const stdout = sandbox.fifo("stdout");
  const command = "(while [ ! -e /tmp/go ]; do sleep 0.02; done; echo late) & exit 4";
  const shim = exec(["sh", "-c", command], { stdout });
  const output = sandbox.reader(stdout);
  await shim.channel!.receive();
  await until("exit status", () => shim.exitStatus === "4");
  await sleep(200);
  expect(shim.hungUp).toBe(false);
  writeFileSync(join(sandbox.rootfs, "tmp/go"), "");
  await shim.end();
  expect((await output.text).toString()).toBe("late\n");
});

test("the end of the container ends its execs", async () => {
  const stdout = sandbox.fifo("stdout");
  const shim = exec(["sh", "-c", "sleep 600 & sleep 600"], { stdout });
  sandbox.reader(stdout);
  await shim.channel!.receive();
  process.kill(init.processPid, "SIGKILL");
  await Promise.all([shim.end(), init.end()]);
  expect(shim.exitStatus).toBe("137");
  expect(init.exitStatus).toBe("137");
  expect(sandbox.containers).toEqual([]);
});

test("a program that is not there fails with the runtime's words", async () => {
  const shim = exec(["nope"]);
  expect(await shim.channel!.receive()).toBe("");
  expect(await shim.end()).toBe(1);
  expect(shim.errors).toEqual([]);
  expect(shim.file("log.json")).toMatch(/executable file (`nope` )?not found in \$PATH/);
  expect(sandbox.containers).toEqual([id]);
  expect(existsSync(`/proc/${init.processPid}`)).toBe(true);
});

test("an exec whose daemon dies runs on: the next daemon takes it over", async () => {
  const shim = exec(["sh", "-c", "sleep 0.5; exit 7"]);
  shim.channel!.close();
  await shim.end();
  expect(shim.exitStatus).toBe("7");
});

test("an exec that is called off is killed", async () => {
  const shim = exec(["sleep", "600"]);
  shim.channel!.send("cancel");
  await shim.end();
  expect(shim.exitStatus).toBe("137");
  expect(existsSync(`/proc/${shim.processPid}`)).toBe(false);
  expect(existsSync(`/proc/${init.processPid}`)).toBe(true);
});

test("without a channel an exec runs just so", async () => {
  const shim = sandbox.shim(id, bundle, { exec: true, args: ["sh", "-c", "exit 6"] }, { channel: false });
  await shim.end();
  expect(shim.exitStatus).toBe("6");
});
