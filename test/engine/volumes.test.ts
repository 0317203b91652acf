/** Volumes of containers: named ones, those of images, what they begin with, and what becomes of them. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { Mount } from "../../src/proto/containerdts/engine/v1/engine.js";
import { attributesOfOpened } from "../../src/system/linux/attributes.js";
import { status } from "../harness/api.js";
import { useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { type Config, importImage, NO_STDIO, newId, requestFor, runToEnd, texts } from "../harness/engine.js";
import { full } from "../harness/extent.js";
import { refusal } from "../harness/v1.js";
import { importVolumesImage, OWNER, VOLUMES_IMAGE, volumeAt } from "../harness/volumes.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();
let daemon: TestDaemon;

beforeAll(async () => {
  daemon = fixture.daemon;
  // Whoever is root in a container of its own ids is nobody here, and has to get to its root file system.
  chmodSync(daemon.dir, 0o711);
  await importImage(daemon);
  await importVolumesImage(daemon);
});

const directory = () => join(daemon.root, "engine", "volumes", "default");
const names = async () => (await daemon.v1().volumes.list({ labels: [] })).volumes.map(({ name }) => name);
const withImage = (config: Config = {}): Config => ({ image: VOLUMES_IMAGE, readOnly: true, ...config });

async function makeRunning(config: Config, name = ""): Promise<string> {
  const id = newId(daemon);
  const create = requestFor({ id, name, config: { args: texts("sleep", "100000"), ...config } });
  await daemon.v1().engine.run({ create, stdio: NO_STDIO });
  return id;
}

const remove = (id: string) => daemon.v1().engine.remove({ id, force: true });

test("a named volume begins with what the image has, outlives containers and the daemon, and is shared", async () => {
  let { engine, volumes } = daemon.v1();
  const mounts = [volumeAt("db", "/data")];
  const first = await runToEnd(
    daemon,
    ["sh", "-c", "stat -c '%u %g %a %h' /data /data/file; cat /data/hidden/new; ls /data; echo more >> /data/file"],
    withImage({ mounts }),
  );
  expect(first.stdout.split("\n")).toEqual([
    ...["1001 1002 2750 3", "1001 1002 640 2", "newfile", "hidden", "outside", "second", "setuid", ""],
  ]);
  const volume = await volumes.get({ name: "db", size: true });
  expect(volume).toMatchObject({
    name: "db",
    anonymous: false,
    containers: [],
    path: join(directory(), "db", "_data"),
  });
  expect(volume.size).toBeGreaterThan(0n);
  // Only root gets there.
  expect(lstatSync(join(directory(), "db")).mode & 0o777).toBe(0o700);
  const opened = openSync(join(volume.path, "file"), "r");
  expect(new Map(attributesOfOpened(opened)).get("user.note")).toEqual(Buffer.from("hello"));
  closeSync(opened);
  expect(readdirSync(join(volume.path, "hidden"))).toEqual(["new"]);

  await daemon.kill();
  await daemon.start();
  ({ engine, volumes } = daemon.v1());
  const [one, two] = await Promise.all([
    makeRunning(withImage({ mounts, userns: "auto" })),
    makeRunning({ mounts: [volumeAt("db", "/srv", { readOnly: true })] }),
  ]);
  const { stdout } = await runToEnd(
    daemon,
    ["sh", "-c", "cat /data/file; stat -c %u /data/file"],
    withImage({ mounts, userns: "auto" }),
  );
  expect(stdout).toBe(`content\nmore\n${OWNER.uid}\n`);
  const described = await engine.get({ id: two });
  expect(described.volumes).toEqual([
    { name: "db", destination: "/srv", path: volume.path, anonymous: false, readOnly: true },
  ]);
  expect((await volumes.get({ name: "db", size: false })).containers.toSorted()).toEqual([one, two].toSorted());
  expect(await refusal(volumes.remove({ name: "db" }))).toContain(`volume "db" is in use by container`);
  await Promise.all([remove(one), remove(two)]);
  await volumes.remove({ name: "db" });
  expect(existsSync(join(directory(), "db"))).toBe(false);
  expect(await refusal(volumes.get({ name: "db", size: false }))).toContain(`no volume "db"`);
  // Those that the image wants have gone with the containers.
  await eventually(async () => expect(await names()).toEqual([]));
});

const script = (...lines: string[]) => ["sh", "-c", lines.join("; ")];

test.skipIf(!full)("volumes without a name go with their container, and only with it", async () => {
  let { engine, volumes } = daemon.v1();
  const id = newId(daemon);
  await engine.create(
    requestFor({ id, config: withImage({ args: texts(...script("echo x >> /logs/x; cat /logs/x")) }) }),
  );
  const { volumes: own } = await engine.get({ id });
  expect(own.map(({ destination, anonymous, readOnly }) => ({ destination, anonymous, readOnly }))).toEqual([
    { destination: "/data", anonymous: true, readOnly: false },
    { destination: "/logs", anonymous: true, readOnly: false },
  ]);
  expect(await names()).toEqual(own.map(({ name }) => name).toSorted());
  expect(await volumes.prune({ labels: [], all: true })).toEqual({ names: [], freed: 0n });
  for (let n = 1; n <= 2; n++) {
    await engine.start({ id, stdio: NO_STDIO });
    await engine.wait({ id });
    // A restart keeps what is in them.
    expect(readFileSync(join(own[1]!.path, "x"), "utf8")).toBe("x\n".repeat(n));
    await daemon.kill();
    await daemon.start();
    ({ engine, volumes } = daemon.v1());
  }
  // Another one has it by its name: it stays.
  const other = await makeRunning({ mounts: [volumeAt(own[0]!.name, "/srv")] });
  await engine.remove({ id });
  expect(await names()).toEqual([own[0]!.name]);
  await remove(other);
  expect(await names()).toEqual([own[0]!.name]);
  expect(readdirSync(join(directory(), own[0]!.name))).toEqual(["_data"]);
  expect((await volumes.prune({ labels: [], all: false })).names).toEqual([own[0]!.name]);
  expect(readdirSync(directory())).toEqual([]);
});

test.skipIf(!full)(
  "what is mounted over the image's volumes, a volume that begins empty, a link in the image",
  async () => {
    const tmpfs = Mount.fromPartial({ type: "tmpfs", destination: "/logs" });
    const { stdout } = await runToEnd(
      daemon,
      script("ls /data /logs /link/", "grep -c . /etc/hosts"),
      withImage({ mounts: [volumeAt("empty", "/data/./", { noCopy: true }), tmpfs] }),
    );
    expect(stdout).toMatch(/^\/data:\n\n\/link\/:\n\n\/logs:\n\d+\n$/);
    // The content of what the link leads to; it was made before, and nothing was ever in it.
    await daemon.v1().volumes.create({ name: "linked", labels: { a: "b" } });
    const held = newId(daemon);
    await daemon
      .v1()
      .engine.create(requestFor({ id: held, config: withImage({ mounts: [volumeAt("linked", "/link")] }) }));
    expect(readdirSync(join(directory(), "linked", "_data"))).toContain("file");
    await remove(held);
    for (const name of ["empty", "linked"]) await daemon.v1().volumes.remove({ name });
    expect(
      await refusal(runToEnd(daemon, ["true"], withImage({ mounts: [volumeAt("of-a-file", "/etc/passwd")] }))),
    ).toContain("/etc/passwd: a volume is a directory, and this is none in the image");
    // Nothing of it is left.
    await eventually(async () => expect(await names()).toEqual([]));
    expect(readdirSync(directory())).toEqual([]);
  },
);

test.skipIf(!full)("several containers that make a volume at once have the same", async () => {
  const mounts = [volumeAt("shared", "/data")];
  const runs = Array.from({ length: 4 }, (_, n) =>
    runToEnd(
      daemon,
      script("cat /data/file", `echo ${n} >> /data/file`),
      withImage({ mounts, userns: n % 2 ? "auto" : "host" }),
    ),
  );
  for (const { exit, stderr } of await Promise.all(runs))
    expect({ status: exit.status, stderr }).toEqual({ status: 0, stderr: "" });
  const lines = readFileSync(join(directory(), "shared", "_data", "file"), "utf8").split("\n");
  expect(lines.toSorted()).toEqual(["", "0", "1", "2", "3", "content"]);
  await daemon.v1().volumes.remove({ name: "shared" });
});

test.skipIf(!full)("by the service: labels, lists, refusals", async () => {
  const { volumes, namespaces } = daemon.v1("own");
  expect(await volumes.create({ name: "one", labels: { app: "x" } })).toMatchObject({
    name: "one",
    labels: { app: "x" },
  });
  await volumes.create({ name: "one", labels: { app: "x" } });
  expect(await refusal(volumes.create({ name: "one", labels: {} }))).toContain(
    `there is a volume "one", with other labels`,
  );
  for (const name of ["-x", ".", "..", "a/b", "a".repeat(256), "\u00e4"])
    expect(await refusal(volumes.create({ name, labels: {} })), name).toContain("its name has to match");
  const made = await volumes.create({ name: "", labels: {} });
  expect(made).toMatchObject({ anonymous: true, name: expect.stringMatching(/^[0-9a-f]{64}$/) });
  const list = async (labels: string[]) => (await volumes.list({ labels })).volumes.map(({ name }) => name);
  expect(await list(["app"])).toEqual(["one"]);
  expect(await list(["app=y"])).toEqual([]);
  expect((await volumes.list({ labels: [], used: true })).volumes).toEqual([]);
  expect(await refusal(volumes.remove({ name: "nobody" }))).toContain(`no volume "nobody"`);
  expect(await refusal(namespaces.delete({ name: "own" }))).toContain("volumes");
  // In another namespace there are others.
  expect((await daemon.v1("other").volumes.list({ labels: [] })).volumes).toEqual([]);
  expect((await volumes.prune({ labels: [], all: false })).names).toEqual([made.name]);
  expect((await volumes.prune({ labels: [], all: true })).names).toEqual(["one"]);
  const refused = async (more: Partial<Mount>) =>
    await refusal(
      daemon.v1().engine.create(requestFor({ id: newId(daemon), config: { mounts: [volumeAt("x", "/x", more)] } })),
    );
  expect(await refused({ source: "../x" })).toContain(`volume "../x"`);
  expect(await refused({ propagation: "shared" })).toContain("propagation");
  expect(await refused({ size: 1n })).toContain("size");
  expect(await refused({ destination: "x" })).toContain("destination");
  expect(await names()).toEqual([]);
});

test.skipIf(!full)(
  "a fork shares what has a name, and has what has none anew; a commit has nothing of either",
  async () => {
    const { engine } = daemon.v1();
    const id = await makeRunning({
      ...withImage({ readOnly: false, writable: true }),
      mounts: [volumeAt("named", "/srv")],
    });
    const [, data] = (await engine.get({ id })).volumes;
    writeFileSync(join(data!.path, "written"), "x");
    await engine.fork({ id, create: { ...requestFor({ id: `${id}f` }), config: undefined } });
    const forked = (await engine.get({ id: `${id}f` })).volumes;
    expect(forked[0]).toEqual((await engine.get({ id })).volumes[0]);
    expect(forked[1]!.name).not.toBe(data!.name);
    expect(existsSync(join(forked[1]!.path, "file"))).toBe(true);
    expect(existsSync(join(forked[1]!.path, "written"))).toBe(false);
    const { digest } = await engine.commit({ id, ref: "docker.io/library/test:committed" });
    expect(digest).toMatch(/^sha256:/);
    const { stdout } = await runToEnd(daemon, script("ls /data /srv"), {
      image: "docker.io/library/test:committed",
      mounts: [],
    });
    expect(stdout).not.toContain("written");
    await remove(`${id}f`);
    await remove(id);
    expect(await names()).toEqual(["named"]);
    await daemon.v1().volumes.remove({ name: "named" });
  },
);

test.skipIf(!full)("a link that a container puts into a volume leads nowhere on the host", async () => {
  const target = join(daemon.dir, "not-ours");
  mkdirSync(target);
  writeFileSync(join(target, "precious"), Buffer.alloc(1 << 20, 1));
  await runToEnd(daemon, script(`ln -s ${target} /srv/link`, "mkdir -p /srv/a/b", `ln -s ${target} /srv/a/b/link`), {
    mounts: [volumeAt("links", "/srv")],
  });
  const { size } = await daemon.v1().volumes.get({ name: "links", size: true });
  expect(size).toBeLessThan(1n << 20n);
  await daemon.v1().volumes.remove({ name: "links" });
  expect(readdirSync(target)).toEqual(["precious"]);
});

test.skipIf(!full)(
  "what a kill has left of volumes is undone or brought to its end, and nothing of a user's is removed",
  async () => {
    const { volumes } = daemon.v1();
    for (const name of ["kept", "filled", "removing"]) await volumes.create({ name, labels: {} });
    await daemon.kill();
    const at = (...parts: string[]) => join(directory(), ...parts);
    const make = (...parts: string[]) => {
      mkdirSync(at(...parts), { recursive: true });
      writeFileSync(at(...parts, "content"), "x");
    };
    // It was whole, and not renamed yet.
    renameSync(at("filled", "_data"), at("filled", "_filling"));
    writeFileSync(at("filled", "_filling", "content"), "x");
    // It was being filled again.
    make("kept", "_filling");
    // Its removal had begun, and was not written down.
    renameSync(at("removing", "_data"), at("removing", "_removed"));
    writeFileSync(at("removing", "_removed", "content"), "x");
    make("begun", "_filling");
    mkdirSync(at("made", "_data"), { recursive: true });
    make("gone", "_removed");
    make("unknown", "_data");
    await daemon.start();
    await eventually(async () => expect((await names()).toSorted()).toEqual(["filled", "kept", "removing"]));
    expect(readdirSync(directory()).toSorted()).toEqual(["filled", "kept", "removing", "unknown"]);
    expect(readdirSync(at("kept"))).toEqual(["_data"]);
    for (const name of ["filled", "removing", "unknown"])
      expect(readFileSync(at(name, "_data", "content"), "utf8")).toBe("x");
    // Who makes a volume of that name has what is there, whatever an image has.
    await runToEnd(daemon, ["true"], withImage({ mounts: [volumeAt("unknown", "/data")] }));
    expect(readdirSync(at("unknown", "_data"))).toEqual(["content"]);
    await eventually(async () => {
      await daemon.v1().volumes.prune({ labels: [], all: true });
      return expect(await names()).toEqual([]);
    });
    expect(readdirSync(directory())).toEqual([]);
  },
);

test.skipIf(!full)("on a full disk no volume is half filled, and nothing is left", async () => {
  const { engine } = daemon.v1("full");
  await importVolumesImage(daemon, "full");
  const place = join(daemon.root, "engine", "volumes", "full");
  mkdirSync(place, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=8k", "volumes", place]);
  try {
    const create = requestFor({ id: newId(daemon), config: withImage({ mounts: [volumeAt("big", "/data")] }) });
    const error = await engine.create(create).then(
      () => undefined,
      (reason: { code: number; message: string }) => reason,
    );
    expect(error).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    expect(error!.message).toContain("no space left");
    expect((await daemon.v1("full").volumes.list({ labels: [] })).volumes).toEqual([]);
    expect(readdirSync(place)).toEqual([]);
    expect((await engine.list()).containers).toEqual([]);
  } finally {
    execFileSync("umount", [place]);
  }
});
