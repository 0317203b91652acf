/** Errors that a caller can do something about: what kind they are, and that they say what. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  buildSpec,
  type Client,
  ContainerdError,
  connect,
  type ErrorKind,
  type RunOptions,
} from "../../src/client/index.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { sharedRootfs } from "../harness/rootfs.js";

let daemon: TestDaemon;
let client: Client;
beforeAll(async () => {
  daemon = await startDaemon();
  client = connect(daemon.listen);
});
afterAll(async () => {
  client.close();
  await daemon[Symbol.asyncDispose]();
});

const base = () => ({ rootfs: sharedRootfs(), bundleDir: daemon.dir, stdioDir: daemon.dir });
const runWith = (options: Partial<RunOptions>) => client.run({ ...base(), args: ["true"], ...options });

async function failure(call: () => Promise<unknown>): Promise<ContainerdError> {
  try {
    await call();
  } catch (error) {
    expect(error).toBeInstanceOf(ContainerdError);
    return error as ContainerdError;
  }
  throw new Error("did not fail");
}

test.each<[ErrorKind, () => Promise<unknown>, RegExp]>([
  [
    "command-not-found",
    () => runWith({ args: ["nope"] }),
    /"nope": executable file not found in \$PATH; .*root file system/,
  ],
  [
    "command-not-found",
    () => runWith({ args: ["/no/such"] }),
    /\/no\/such: no such file or directory; .*root file system/,
  ],
  ["not-executable", () => runWith({ args: ["/bin"] }), /permission denied; .* program that its user may execute/],
  [
    "bad-rootfs",
    () => runWith({ rootfs: "/no/such" }),
    /; rootfs must be a folder with a root file system, and \/no\/such is none/,
  ],
  ["bad-rootfs", () => runWith({ rootfs: "/etc/hostname" }), /and \/etc\/hostname is none/],
  [
    "bad-mount",
    () => runWith({ mounts: [{ source: "/no/such", destination: "/tmp/x" }] }),
    /stat \/no\/such: .*; a mount's source/,
  ],
  ["bad-cwd", () => runWith({ cwd: "/bin/sh" }), /; cwd must be a folder in the container/],
  ["bad-network", () => runWith({ network: { path: "/no/such" } }), /; network.path must be a network namespace/],
  ["bad-limit", () => runWith({ limits: { memory: 1 } }), /; a limit must leave room/],
  [
    "runtime-not-found",
    () => runWith({ runtime: "no-such-runtime" }),
    /; runtime must be a program on the PATH of the daemon/,
  ],
  [
    "bundle-not-found",
    () => client.containers.start({ bundle: "/no/such", stdioDir: daemon.dir }),
    /\/no\/such\/config.json: .*; bundle must be/,
  ],
  ["refused", () => runWith({ id: "../x" }), /invalid container id "..\/x"/],
  ["not-found", () => client.containers.get("nobody"), /container not found/],
  ["not-found", () => client.containers.reference("nobody").exec(["true"]), /container not found/],
])("%s", async (kind, call, message) => {
  const error = await failure(call);
  expect(error.message).toMatch(message);
  expect(error.kind).toBe(kind);
  expect(error.code).not.toMatch(/INTERNAL|UNKNOWN/);
  expect(error.isNotFound).toBe(kind === "not-found");
  await daemon.expectNothingLeft();
});

test("of a container that runs: ids and names in use, commands that are none, a pause", async () => {
  const id = daemon.id("c");
  await using container = await client.containers.start({ ...base(), id, args: ["sleep", "1000"] });
  const again = await failure(() => runWith({ id }));
  expect(again).toMatchObject({ kind: "id-in-use", code: "ALREADY_EXISTS", containerId: id });
  expect(again.message).toContain(
    `the id "${id}" is taken by a container that is there: choose another, or end that one first`,
  );
  const name = "shell";
  using shell = await container.exec(["sh"], { name, stdioDir: daemon.dir });
  const execAgain = await failure(() => container.exec(["sh"], { name, stdioDir: daemon.dir }));
  expect(execAgain.kind).toBe("id-in-use");
  expect(execAgain.message).toContain('the name "shell" is taken by a process');
  expect((await failure(() => container.exec(["nope"], { stdioDir: daemon.dir }))).kind).toBe("command-not-found");
  await container.pause();
  expect((await failure(() => container.exec(["true"], { stdioDir: daemon.dir }))).kind).toBe("wrong-state");
  await container.resume();
  const resumed = await failure(() => container.resume());
  expect(resumed).toMatchObject({ kind: "wrong-state", containerId: id });
  expect(resumed.message).toMatch(/not paused.*; pause\(\) and resume\(\) change it/s);
  const limited = await failure(() => container.update({ memory: 4096 }));
  expect(limited).toMatchObject({ kind: "bad-limit", containerId: id });
  expect(limited.message).toContain("; a limit must leave room for what the container uses");
  shell.stdin.end();
  await shell.wait();
});

test("nobody, and somebody else, at the address", async () => {
  const nowhere = join(daemon.dir, "nobody");
  await using lost = connect(nowhere);
  expect(await failure(() => lost.version())).toMatchObject({ kind: "unreachable", code: "UNAVAILABLE" });
  // A gRPC server that has other services, as containerd 1.x has.
  const other = new Server();
  const socket = join(daemon.dir, "other");
  await new Promise((resolve) => other.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), resolve));
  try {
    await using stranger = connect(socket);
    for (const call of [
      () => stranger.version(),
      () => stranger.run({ ...base(), args: ["true"] }),
      async () => {
        for await (const _ of stranger.events());
      },
    ]) {
      const error = await failure(call);
      expect(error).toMatchObject({ kind: "wrong-daemon", code: "UNIMPLEMENTED" });
      expect(error.message).toContain(
        `what listens at unix://${socket} is no containerd 0.2, but perhaps the containerd 1.x`,
      );
    }
  } finally {
    other.forceShutdown();
  }
});

test("a daemon with other mounts sees neither bundle nor streams nor rootfs: that is said", async () => {
  const hidden = mkdtempSync(join(daemon.dir, "hidden-"));
  const hide = `mount -t tmpfs none ${hidden} && exec "$@"`;
  await using other = await startDaemon({ wrapper: ["unshare", "-m", "sh", "-c", hide, "sh"] });
  await using apart = connect(other.listen);
  const options = { ...base(), args: ["true"] };
  const bundle = await failure(() => apart.run({ ...options, bundleDir: hidden }));
  expect(bundle).toMatchObject({ kind: "bundle-not-visible", code: "FAILED_PRECONDITION" });
  expect(bundle.message).toMatch(
    /; this program sees it: the daemon has other mounts .*; bundleDir and stdioDir name folders/,
  );
  const stdio = await failure(() => apart.run({ ...options, stdioDir: hidden }));
  expect(stdio.message).toMatch(/; this program sees it: the daemon has other mounts .*; stdioDir names a folder/);
  expect(stdio.kind).toBe("stdio-not-visible");
  mkdirSync(join(hidden, "rootfs"));
  const rootfs = await failure(() => apart.run({ ...options, rootfs: join(hidden, "rootfs") }));
  expect(rootfs.kind).toBe("bad-rootfs");
  expect(rootfs.message).toContain(`this program sees the folder ${hidden}/rootfs: the daemon has other mounts`);
  rmSync(hidden, { recursive: true });
});

test("a bundle of one's own with a root that is none", async () => {
  const bundle = mkdtempSync(join(daemon.dir, "own-"));
  writeFileSync(join(bundle, "config.json"), JSON.stringify(buildSpec({ rootfs: "/no/such", args: ["true"] })));
  const error = await failure(() => client.containers.start({ bundle, stdioDir: daemon.dir }));
  expect(error.kind).toBe("bad-rootfs");
  expect(error.message).toContain("root.path in the bundle's config.json must be a folder");
  rmSync(bundle, { recursive: true });
});
