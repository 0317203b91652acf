/** Errors that a caller can do something about: what kind they are, and that they say what. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { buildSpec, ContainerdError, connect, type ErrorKind, type v0 } from "../../src/client/index.js";
import { crunForCgroupV2, inCgroupV1, inCgroupV2, withoutCgroupV2 } from "../harness/cgroup-v2.js";
import { useClient } from "../harness/client.js";
import { type DaemonOptions, startDaemon } from "../harness/daemon.js";
import { findProgram } from "../harness/paths.js";

const laterCrun = crunForCgroupV2();

/** Plain crun refuses a machine that has cgroup v1 and v2: it sees one of them. */
const runtimes: { runtime: string; daemon: DaemonOptions; lacking: string | undefined }[] = [
  { runtime: "runc", daemon: {}, lacking: undefined },
  {
    runtime: "crun",
    daemon: { wrapper: inCgroupV1(), flags: ["--runtime", "crun"] },
    lacking: findProgram("crun") ? undefined : "crun is not installed",
  },
  {
    runtime: "a later crun",
    daemon: { wrapper: inCgroupV2(), flags: ["--runtime", laterCrun ?? ""] },
    lacking: withoutCgroupV2() ?? (laterCrun ? undefined : "no crun of Debian trixie in /var/cache/containerd-ts"),
  },
];

async function failure(call: () => Promise<unknown>): Promise<ContainerdError> {
  try {
    await call();
  } catch (error) {
    expect(error).toBeInstanceOf(ContainerdError);
    return error as ContainerdError;
  }
  throw new Error("did not fail");
}

for (const { runtime, daemon, lacking } of runtimes)
  describe.skipIf(lacking)(lacking ? `with ${runtime} (skipped: ${lacking})` : `with ${runtime}`, () => {
    const here = useClient(daemon);

    const runWith = (options: Partial<v0.RunOptions>) =>
      here.client.v0.run({ ...here.place(), args: ["true"], ...options });

    const table: [ErrorKind, () => Promise<unknown>, RegExp, RegExp][] = [
      [
        "command-not-found",
        () => runWith({ args: ["nope"] }),
        /executable file not found in \$PATH/,
        /root file system/,
      ],
      ["command-not-found", () => runWith({ args: ["/no/such"] }), /no such file or directory/, /root file system/],
      ["not-executable", () => runWith({ args: ["/bin"] }), /permission denied/, /program that its user may execute/],
      [
        "bad-rootfs",
        () => runWith({ rootfs: "/no/such" }),
        /rootfs/,
        /rootfs must be a folder with a root file system, and \/no\/such is none/,
      ],
      ["bad-rootfs", () => runWith({ rootfs: "/etc/hostname" }), /not a directory/, /and \/etc\/hostname is none/],
      [
        "bad-mount",
        () => runWith({ mounts: [{ source: "/no/such", destination: "/tmp/x" }] }),
        /stat \/no\/such: /,
        /a mount's source/,
      ],
      ["bad-cwd", () => runWith({ cwd: "/bin/sh" }), /cwd|chdir/, /cwd must be a folder in the container/],
      [
        "bad-network",
        () => runWith({ network: { path: "/no/such" } }),
        /namespace path/,
        /network.path must be a network namespace/,
      ],
      ["bad-limit", () => runWith({ limits: { memory: 1 } }), /limit|cgroup/, /a limit must leave room/],
      [
        "runtime-not-found",
        () => runWith({ runtime: "no-such-runtime" }),
        /no-such-runtime/,
        /runtime must be a program on the PATH of the daemon/,
      ],
      [
        "bundle-not-found",
        () => here.client.v0.containers.start({ bundle: "/no/such", stdioDir: here.daemon.dir }),
        /\/no\/such\/config.json: /,
        /bundle must be/,
      ],
      ["refused", () => runWith({ id: "../x" }), /invalid container id "..\/x"/, /^/],
      ["not-found", () => here.client.v0.containers.get("nobody"), /container not found/, /^/],
      ["not-found", () => here.client.v0.containers.reference("nobody").exec(["true"]), /container not found/, /^/],
    ];
    for (const [kind, call, words, advice] of table)
      test(kind, async () => {
        const error = await failure(call);
        expect.soft(error.kind, error.message).toBe(kind);
        expect(error.message).toMatch(advice);
        // A runtime has words of its own.
        if (runtime === "runc") expect(error.message).toMatch(words);
        expect(error.code).not.toMatch(/INTERNAL|UNKNOWN/);
        expect(error.isNotFound).toBe(kind === "not-found");
        await here.daemon.expectNothingLeft();
      });

    test("wrong-state: an exec in a container that is paused", async () => {
      await using container = await here.client.v0.containers.start({ ...here.one(), args: ["sleep", "1000"] });
      await container.pause();
      const error = await failure(() => container.exec(["true"], { stdioDir: here.daemon.dir }));
      expect(error.kind, error.message).toBe("wrong-state");
    });

    test("bad-limit: an update that leaves no room", async () => {
      await using container = await here.client.v0.containers.start({ ...here.one(), args: ["sleep", "1000"] });
      const limited = await failure(() => container.update({ memory: 4096 }));
      expect(limited).toMatchObject({ kind: "bad-limit", containerId: container.id });
      expect(limited.message).toContain("; a limit must leave room for what the container uses");
    });

    test("of a container that runs: ids and names in use, commands that are none, no pause", async () => {
      const id = here.daemon.id("c");
      await using container = await here.client.v0.containers.start({ ...here.place(), id, args: ["sleep", "1000"] });
      const again = await failure(() => runWith({ id }));
      expect(again).toMatchObject({ kind: "id-in-use", code: "ALREADY_EXISTS", containerId: id });
      expect(again.message).toContain(
        `the id "${id}" is taken by a container that is there: choose another, or end that one first`,
      );
      const name = "shell";
      using shell = await container.exec(["sh"], { name, stdioDir: here.daemon.dir });
      const execAgain = await failure(() => container.exec(["sh"], { name, stdioDir: here.daemon.dir }));
      expect(execAgain.kind).toBe("id-in-use");
      expect(execAgain.message).toContain('the name "shell" is taken by a process');
      expect((await failure(() => container.exec(["nope"], { stdioDir: here.daemon.dir }))).kind).toBe(
        "command-not-found",
      );
      // To crun it is no error.
      if (runtime === "runc") {
        const resumed = await failure(() => container.resume());
        expect(resumed).toMatchObject({ kind: "wrong-state", containerId: id });
        expect(resumed.message).toMatch(/not paused.*; pause\(\) and resume\(\) change it/s);
      }
      shell.stdin.end();
      await shell.wait();
    });
  });

const here = useClient();

test("nobody, and somebody else, at the address", async () => {
  const nowhere = join(here.daemon.dir, "nobody");
  await using lost = connect(nowhere);
  expect(await failure(() => lost.version())).toMatchObject({ kind: "unreachable", code: "UNAVAILABLE" });
  // A gRPC server that has other services, as containerd 1.x has.
  const other = new Server();
  const socket = join(here.daemon.dir, "other");
  await new Promise((resolve) => other.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), resolve));
  try {
    await using stranger = connect(socket);
    for (const call of [
      () => stranger.version(),
      () => stranger.v0.run({ ...here.place(), args: ["true"] }),
      async () => {
        for await (const _ of stranger.v0.events());
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
  const hidden = mkdtempSync(join(here.daemon.dir, "hidden-"));
  const hide = `mount -t tmpfs none ${hidden} && exec "$@"`;
  await using other = await startDaemon({ wrapper: ["unshare", "-m", "sh", "-c", hide, "sh"] });
  await using apart = connect(other.listen);
  const options = { ...here.place(), args: ["true"] };
  const bundle = await failure(() => apart.v0.run({ ...options, bundleDir: hidden }));
  expect(bundle).toMatchObject({ kind: "bundle-not-visible", code: "FAILED_PRECONDITION" });
  expect(bundle.message).toMatch(
    /; this program sees it: the daemon has other mounts .*; bundleDir and stdioDir name folders/,
  );
  const stdio = await failure(() => apart.v0.run({ ...options, stdioDir: hidden }));
  expect(stdio.message).toMatch(/; this program sees it: the daemon has other mounts .*; stdioDir names a folder/);
  expect(stdio.kind).toBe("stdio-not-visible");
  mkdirSync(join(hidden, "rootfs"));
  const rootfs = await failure(() => apart.v0.run({ ...options, rootfs: join(hidden, "rootfs") }));
  expect(rootfs.kind).toBe("bad-rootfs");
  expect(rootfs.message).toContain(`this program sees the folder ${hidden}/rootfs: the daemon has other mounts`);
  rmSync(hidden, { recursive: true });
});

test("a bundle of one's own with a root that is none", async () => {
  const bundle = mkdtempSync(join(here.daemon.dir, "own-"));
  writeFileSync(join(bundle, "config.json"), JSON.stringify(buildSpec({ rootfs: "/no/such", args: ["true"] })));
  const error = await failure(() => here.client.v0.containers.start({ bundle, stdioDir: here.daemon.dir }));
  expect(error.kind).toBe("bad-rootfs");
  expect(error.message).toContain("root.path in the bundle's config.json must be a folder");
  rmSync(bundle, { recursive: true });
});
