/** ctr's commands about images, and what runs of them, on a real daemon with a real registry. */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../src/client/index.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { mountsBelow } from "../harness/mounted.js";
import { ctrProgram } from "../harness/paths.js";
import { hasRegistry, USER, useRegistry } from "../harness/registry.js";
import { directoryPrefix } from "../harness/run-name.js";
import { makeTestImage, type StandardImage } from "../harness/test-images.js";
import { eventually } from "../harness/wait.js";
import { ctr, ctrEnvironment, ctrError, fifoDirectories, runCtr, startCtr } from "./ctr.js";
import { Screen } from "./screen.js";

const NAME = "registry.test/base:latest";

let dir: string;
let archive: string;
let base: StandardImage;
let daemon: TestDaemon;
beforeAll(async () => {
  dir = mkdtempSync(directoryPrefix());
  const config = { Cmd: ["echo", "hi"], Env: ["A=b"], User: "web", WorkingDir: "/home", Labels: { l: "\u001b[31m" } };
  base = await makeTestImage(join(dir, "base"), "base", { config });
  archive = join(dir, "base.tar");
  await base.layout.archive(archive);
  daemon = await startDaemon();
  await ctr(daemon, "images", "import", "--quiet", archive);
});
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await daemon[Symbol.asyncDispose]();
});

const digest = () => base.image.manifest.digest;
const layer = () => base.image.layers[0]!;
const lines = (text: string) => text.trimEnd().split("\n");

test("import: from a file and from stdin, told of in lines, as JSON, or by the names alone", async () => {
  const shown = lines(await ctr(daemon, "images", "import", archive));
  expect(shown[0]).toBe("Importing");
  expect(shown).toContain(`${NAME}: saved`);
  expect(shown.at(-1)).toBe(NAME);
  const { stdout, stderr } = await runCtr(daemon, ["images", "import", "--json", "-"], readFileSync(archive));
  expect(stderr).toBe("");
  const events = lines(String(stdout)).map((line) => JSON.parse(line));
  expect(events.some(({ event, name }) => event === "saved" && name === NAME)).toBe(true);
  expect(await ctr(daemon, "images", "import", "-q", "--name", "a:1", archive)).toBe("docker.io/library/a:1\n");
  await ctr(daemon, "images", "rm", "a:1");
  const text = join(dir, "text");
  writeFileSync(text, "no archive of anything ".repeat(100));
  expect(await ctrError(daemon, "images", "import", "-q", "--name", "x", text)).toContain(
    "what is to be imported is no archive: it does not begin with an entry of tar",
  );
  expect(await ctrError(daemon, "images", "import", join(dir, "nope"))).toMatch(/no such file or directory.*nope/);
});

test("import: a root file system", async () => {
  const rootfs = join(dir, "rootfs.tar");
  execFileSync("tar", ["-cf", rootfs, "-C", dir, "base.tar"]);
  expect(await ctr(daemon, "images", "import", "-q", "--rootfs", "--name", "files", rootfs)).toBe(
    "docker.io/library/files:latest\n",
  );
  await ctr(daemon, "images", "rm", "files");
});

test("ls: a table, names, JSON, filters", async () => {
  const [head, row] = lines(await ctr(daemon, "images", "ls"));
  expect(head).toMatch(/^NAME +DIGEST +SIZE +PLATFORMS +CREATED$/);
  const size = `${(layer().descriptor.size / 2 ** 20).toFixed(1)} MiB`;
  const [algorithm, hex] = digest().split(":");
  expect(row!.split(/ {2,}/)).toEqual([
    ...[NAME, `${algorithm}:${hex!.slice(0, 12)}`, size, "linux/amd64"],
    expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
  ]);
  expect(await ctr(daemon, "images", "list", "--quiet")).toBe(`${NAME}\n`);
  expect(JSON.parse(await ctr(daemon, "images", "ls", "--json"))).toMatchObject({
    ...{ name: NAME, digest: digest(), platforms: ["linux/amd64"] },
    size: base.image.config.size + layer().descriptor.size,
  });
  expect(await ctr(daemon, "images", "ls", "-q", "name~=nope")).toBe("");
  expect(await ctr(daemon, "-n", "other", "images", "ls", "-q")).toBe("");
  expect(await ctr(daemon, "--namespace", "default", "images", "ls", "-q")).toBe(`${NAME}\n`);
});

test("inspect: configuration, history, layers with their sizes; nothing that a terminal would obey", async () => {
  const text = await ctr(daemon, "images", "inspect", "registry.test/base");
  for (const line of [`name: ${NAME}`, 'command: "echo" "hi"', "user: web", "environment: A=b", "label: l=\\u001b[31m"])
    expect(lines(text)).toContain(line);
  expect(text).toMatch(new RegExp(`${layer().descriptor.digest} +[\\d.]+ MiB +${layer().diffId} +layer 0`));
  expect(JSON.parse(await ctr(daemon, "images", "inspect", "--json", NAME)).layers).toHaveLength(1);
  expect(await ctrError(daemon, "images", "inspect", "--platform", "linux/s390x", NAME)).toBe(
    `image ${NAME} has nothing for linux/s390x: it has linux/amd64`,
  );
  expect(await ctrError(daemon, "images", "inspect", "UPPER")).toBe(
    'invalid image name "UPPER": the path must be in lower case',
  );
});

test("tag, export and rm", async () => {
  expect(await ctr(daemon, "images", "tag", NAME, "b:1", "b:2")).toBe("docker.io/library/b:1\ndocker.io/library/b:2\n");
  const file = join(dir, "exported.tar");
  await ctr(daemon, "images", "export", file, "b:1", "b:2");
  const names = JSON.parse(execFileSync("tar", ["-xOf", file, "index.json"], { encoding: "utf8" })).manifests.map(
    ({ annotations }: { annotations: Record<string, string> }) => annotations["io.containerd.image.name"],
  );
  expect(names).toEqual(["docker.io/library/b:1", "docker.io/library/b:2"]);
  const { stdout } = await runCtr(daemon, ["images", "export", "-", "b:1"]);
  expect(execFileSync("tar", ["-t"], { input: stdout, encoding: "utf8" })).toContain("oci-layout");
  await ctr(daemon, "images", "rm", "b:1", "b:2", "--sync");
  expect(await ctrError(daemon, "images", "rm", "b:1")).toContain('"docker.io/library/b:1": not found');
  expect(await ctrError(daemon, "images", "export", join(dir, "none.tar"), "b:1")).toContain("not found");
  expect(existsSync(join(dir, "none.tar"))).toBe(false);
});

test("usage, content and snapshots", async () => {
  expect(await ctr(daemon, "images", "usage")).toMatch(/^images +1 +$[\s\S]*^blobs +3 +[\d.]+ MiB$/m);
  expect(JSON.parse(await ctr(daemon, "images", "usage", "--json"))).toMatchObject({ images: 1, blobs: { count: 3 } });
  const blobs = lines(await ctr(daemon, "content", "ls", "-q"));
  expect(blobs.sort()).toEqual([digest(), base.image.config.digest, layer().descriptor.digest].sort());
  expect(await ctr(daemon, "content", "get", base.image.config.digest)).toBe(
    readFileSync(base.layout.path(base.image.config), "utf8"),
  );
  expect(await ctrError(daemon, "content", "get", `sha256:${"0".repeat(64)}`)).toContain("not found");
  const chain = base.image.chainIds[0]!;
  expect(await ctr(daemon, "snapshots", "ls")).toMatch(new RegExp(`^${chain} +committed$`, "m"));
  expect(await ctr(daemon, "snapshots", "usage", chain)).toMatch(new RegExp(`^${chain} +[\\d.]+ MiB +\\d+$`, "m"));
  expect(await ctr(daemon, "snapshots", "tree")).toBe(`${chain} (committed)\n`);
  expect(await ctr(daemon, "leases", "ls", "-q")).toBe("");
});

test("mount and unmount", async () => {
  const target = join(dir, "mounted");
  const chain = base.image.chainIds[0]!;
  await ctr(daemon, "images", "mount", NAME, target);
  try {
    expect(readFileSync(join(target, "etc/passwd"), "utf8")).toContain("web:x:1001:1002");
    expect(() => writeFileSync(join(target, "new"), "")).toThrow(/EROFS/);
    expect(await ctr(daemon, "snapshots", "tree")).toBe(`${chain} (committed)\n└─ mounted at ${target} (view)\n`);
    expect(await ctrError(daemon, "images", "mount", NAME, target)).toContain("already exists");
  } finally {
    await ctr(daemon, "images", "unmount", target);
  }
  expect(existsSync(join(target, "etc"))).toBe(false);
  expect(await ctrError(daemon, "images", "unmount", target)).toContain("not found");
  await ctr(daemon, "images", "mount", "--rw", NAME, target);
  writeFileSync(join(target, "new"), "");
  await ctr(daemon, "images", "umount", target);
  expect(await ctr(daemon, "snapshots", "ls", "-q")).toBe(`${chain}\n`);
});

describe("run", () => {
  /** Nothing of a container is left: no task, record, snapshot, FIFO. The image stays mounted for the next one. */
  async function expectNothingLeft(): Promise<void> {
    expect((await daemon.v1("default").tasks.list()).tasks).toEqual([]);
    expect(lines(await ctr(daemon, "snapshots", "ls", "-q"))).toEqual(base.image.chainIds);
    expect((await daemon.v1("default").containers.list()).containers).toEqual([]);
    expect(fifoDirectories(daemon)).toEqual([]);
  }

  test("what the image says, or what is given in its place", async () => {
    expect(await ctr(daemon, "run", NAME)).toBe("hi\n");
    expect(
      await ctr(daemon, "run", "--rm", "registry.test/base", "sh", "-c", "id -un; pwd; echo $A; hostname"),
    ).toMatch(/^web\n\/home\nb\n[0-9a-f]{12}\n$/);
    const flags = ["--user", "0:0", "-e", "A=c", "-w/tmp", "--name", daemon.id("named"), "--hostname", "me"];
    expect(await ctr(daemon, "run", ...flags, NAME, "sh", "-c", "id -u; pwd; echo $A; hostname; echo x >/new")).toBe(
      "0\n/tmp\nc\nme\n",
    );
    expect(await ctr(daemon, "run", "--entrypoint", "cat", NAME, "/etc/group")).toContain("extra:x:1003:web");
    await expectNothingLeft();
  });

  test("exit status, stdin, stderr, mounts, network", async () => {
    const failing = await runCtr(daemon, ["run", NAME, "sh", "-c", "echo out; echo err >&2; exit 7"]);
    expect(failing).toMatchObject({ status: 7, stdout: Buffer.from("out\n"), stderr: "err\n" });
    expect(String((await runCtr(daemon, ["run", NAME, "cat"], "from stdin")).stdout)).toBe("from stdin");
    const mount = ["--mount", `${dir}:/mnt:ro`, "--user", "root"];
    expect(
      await ctr(daemon, "run", ...mount, NAME, "sh", "-c", "ls /mnt/base.tar; touch /mnt/x 2>/dev/null || echo ro"),
    ).toBe("/mnt/base.tar\nro\n");
    const links = ["sh", "-c", "ls /sys/class/net | wc -l"];
    expect(await ctr(daemon, "run", NAME, ...links)).toBe("1\n");
    const here = execFileSync("sh", ["-c", "ls /sys/class/net | wc -l"], { encoding: "utf8" });
    expect(await ctr(daemon, "run", "--network", "host", NAME, ...links)).toBe(here);
    const readOnly = await runCtr(daemon, ["run", "--read-only", "-u", "root", NAME, "touch", "/x"]);
    expect(readOnly.stderr).toContain("Read-only file system");
    await expectNothingLeft();
  });

  test("what can't be run leaves nothing, and says what to do", async () => {
    const cases: [string[], number, string][] = [
      [
        ["--pull", "never", "nope"],
        125,
        'image "nope" is not here: type ctr images pull nope, or ctr images import FILE',
      ],
      [[NAME, "no-such-command"], 127, "no-such-command"],
      [[NAME, "/etc/passwd"], 126, "/etc/passwd"],
      [["--user", "nobody-known", NAME], 125, "nobody-known"],
      [["--mount", "x", NAME], 125, '--mount "x" has to be SOURCE:DESTINATION'],
      [["-v", "x", NAME], 125, '--volume "x" has to be /DIRECTORY:/DESTINATION'],
      [["-p", "x", NAME], 125, 'ports[0] must be "8080:80"'],
      [["-m", "much", NAME], 125, 'invalid number "much" for --memory'],
      [["--network", "host", "--ip", "10.0.0.1", NAME], 125, "--network host has no names and addresses of its own"],
      [["--nonsense", NAME], 125, "flag provided but not defined: -nonsense"],
      [["--pull", "sometimes", NAME], 125, "argument 'sometimes' is invalid"],
      [["--env-file", "/no/such/file", NAME], 125, "/no/such/file"],
      [["--health-interval", "often", NAME], 125, '--health-interval: invalid duration "often"'],
      [["--health-timeout", "-1s", NAME], 125, '--health-timeout "-1s" must not be below 0'],
      [["--tmpfs", "/x:mode=9", NAME], 125, 'mode "9" has to be like 1777'],
      [["-v", "one:/x", "-v", "other:/x", NAME], 125, 'two of --volume have the same destination "/x"'],
      [[], 125, "image cannot be empty"],
    ];
    for (const [args, status, message] of cases) {
      const result = await runCtr(daemon, ["run", ...args]);
      expect(result, args.join(" ")).toMatchObject({ status, stderr: expect.stringContaining(message) });
      expect(result.stderr).toMatch(/^\[ctr\] .*\n$/);
    }
    await ctr(daemon, "images", "import", "-q", "--no-unpack", "--name", "packed", archive);
    await ctr(daemon, "images", "rm", "packed");
    await expectNothingLeft();
  });

  test("a file of variables is the container's, and nothing to the ctr that reads it", async () => {
    const [file, program] = [join(dir, "hostile"), join(dir, "hostile.cjs")];
    writeFileSync(program, "process.stdout.write('of the host\\n');");
    writeFileSync(file, `NODE_OPTIONS=--require=${program}\n`);
    const args = ["--address", daemon.listen, "run", "--env-file", file, NAME, "sh", "-c", "echo $NODE_OPTIONS"];
    const env = { ...ctrEnvironment(daemon), PATH: `${dirname(process.execPath)}:${process.env.PATH}` };
    expect(execFileSync(ctrProgram, args, { encoding: "utf8", env })).toBe(`--require=${program}\n`);
    await expectNothingLeft();
  });

  test("two of one name: the second is told so; told to end, ctr ends its container", async () => {
    const name = daemon.id("twice");
    const running = startCtr(daemon, "run", "--name", name, NAME, "sh", "-c", "echo runs; exec sleep 1000");
    await running.printed("runs\n");
    const second = await runCtr(daemon, ["run", "--name", name, NAME]);
    expect(second).toMatchObject({ status: 125, stderr: expect.stringContaining(`the name "${name}" is taken`) });
    running.child.kill("SIGTERM");
    expect((await running.result).status).toBe(143);
    await expectNothingLeft();
  });

  test("beside everything else: its id, its log, and gone when it has ended", async () => {
    const name = daemon.id("beside");
    const script = "echo out; echo $A $B; cat /run/x; until [ -e /tmp/go ]; do sleep 0.05; done";
    writeFileSync(join(dir, "variables"), "# comment\nB=2\n");
    const flags = [
      "-d",
      "--rm",
      "--name",
      name,
      "-eA=1",
      "--env-file",
      join(dir, "variables"),
      "-m64m",
      "--cpus",
      "0.5",
    ];
    const volume = [
      "-v",
      `${join(dir, "variables")}:/run/x:ro`,
      "--label",
      "tier=web",
      "--tmpfs",
      "/run2:size=1m,mode=0700",
    ];
    const id = (await ctr(daemon, "run", ...flags, ...volume, "-u", "root", NAME, "sh", "-c", script)).trim();
    await eventually(async () => (await ctr(daemon, "logs", name)) === "out\n1 2\n# comment\nB=2\n");
    const { container } = await daemon.v1("default").containers.get({ id });
    expect(container?.id).toBe(id);
    await using client = connect(daemon.listen);
    const { info } = await client.containers.get(name);
    expect(info).toMatchObject({ id, labels: { tier: "web" }, autoRemove: true });
    expect(info?.config?.resources).toMatchObject({ memory: 64n << 20n, cpus: 0.5 });
    expect(info?.config?.mounts).toMatchObject([
      { type: "bind", destination: "/run/x", readOnly: true },
      { type: "tmpfs", destination: "/run2", size: 1n << 20n, mode: 0o700 },
    ]);
    await (await client.containers.get(name)).writeFile("/tmp/go", "");
    await eventually(async () => (await client.containers.list()).length === 0, { what: "the end of the container" });
    await expectNothingLeft();
  });

  test("with a terminal", async () => {
    using screen = new Screen(daemon);
    screen.line(
      `ctr run -it ${NAME} sh -c 'tty; until stty size | grep 30; do sleep 0.05; done; read line; echo got $line'`,
    );
    await eventually(() => /30 100/.test(screen.text), { what: "the size of the terminal" });
    screen.line("words");
    await eventually(() => screen.text.includes("got words"), { what: "what was typed" });
  });
});

test("prune", async () => {
  await using other = await startDaemon();
  await ctr(other, "images", "import", "-q", archive);
  expect(await ctr(other, "images", "prune")).toBe("freed 0 B\n");
  expect(lines(await ctr(other, "images", "prune", "--all"))).toEqual([
    NAME,
    expect.stringMatching(/^freed [\d.]+ MiB$/),
  ]);
  expect(await ctr(other, "content", "check")).toBe("0 blobs and 0 images are as they should be\n");
});

test("content check finds what is damaged, and what is missing", async () => {
  await using other = await startDaemon();
  await ctr(other, "images", "import", "-q", archive);
  expect(await ctr(other, "content", "check")).toBe("3 blobs and 1 images are as they should be\n");
  const path = join(other.root, "content/blobs", layer().descriptor.digest.replace(":", "/"));
  const { size } = statSync(path);
  const bytes = readFileSync(path);
  bytes[size >> 1]! ^= 1;
  writeFileSync(path, bytes);
  const damaged = await runCtr(other, ["content", "check"]);
  expect(damaged.status).toBe(1);
  expect(String(damaged.stdout)).toMatch(new RegExp(`^${layer().descriptor.digest}: its digest is sha256:`));
  truncateSync(path, 10);
  const cut = await runCtr(other, ["content", "check"]);
  expect(cut.status).toBe(1);
  expect(String(cut.stdout)).toContain(layer().descriptor.digest);
  writeFileSync(path, readFileSync(base.layout.path(layer().descriptor)));
  expect(await ctr(other, "content", "check")).toBe("3 blobs and 1 images are as they should be\n");
  const [file = ""] = readdirSync(join(other.root, "layers")).filter((name) => name.endsWith(".erofs"));
  rmSync(join(other.root, "layers", file));
  const lost = await runCtr(other, ["content", "check"]);
  expect(lost.status).toBe(1);
  expect(String(lost.stdout)).toMatch(new RegExp(`^\\S*${NAME}: .*${file}`));
  expect(mountsBelow(other.root)).toEqual([]);
  expect(await ctr(other, "snapshots", "ls", "-q")).not.toContain("extract-");
});

describe.skipIf(!hasRegistry)("a registry", () => {
  const plain = useRegistry();
  const closed = useRegistry({ htpasswd: true });

  test("push and pull, with bars on a terminal", async () => {
    const name = `${plain.registry.host}/team/base:1`;
    await ctr(daemon, "images", "push", "-q", "--plain-http", NAME, name);
    await using other = await startDaemon();
    using screen = new Screen(other, { columns: 120 });
    screen.line(`ctr images pull --plain-http ${name}`);
    await eventually(() => screen.text.includes(`\n${name}\n`), { what: "the pulled image's name" });
    const short = layer().descriptor.digest.slice(0, "sha256:".length + 12);
    const bars = screen.text.split("\n").filter((line) => line.startsWith(`layer ${short} `));
    expect(bars).toEqual([expect.stringMatching(/ (extracted|complete) +\[=+\] [\d.]+ MiB \/ [\d.]+ MiB$/)]);
    expect(await ctr(other, "run", name)).toBe("hi\n");
    expect(await ctr(other, "images", "pull", "-q", "--plain-http", name)).toBe(`${name}\n`);
    expect(await ctrError(other, "images", "pull", "-q", "--plain-http", `${name}x`)).toContain("not found");
  });

  test("with a password, which may come from stdin", async () => {
    const name = `${closed.registry.host}/base:1`;
    const { username, password } = USER;
    const flags = ["-q", "--plain-http"];
    await ctr(daemon, "images", "push", ...flags, "--user", `${username}:${password}`, NAME, name);
    const pull = await runCtr(
      daemon,
      ["images", "pull", ...flags, "--user", username, "--password-stdin", name],
      `${password}\n`,
    );
    expect(pull).toMatchObject({ status: 0, stdout: Buffer.from(`${name}\n`), stderr: "" });
    const refused = await runCtr(daemon, ["images", "pull", ...flags, "--user", `${username}:wr0ng`, name]);
    expect(refused.status).toBe(1);
    expect(refused.stderr).not.toContain("wr0ng");
    expect(await ctrError(daemon, "images", "pull", "--user", "me", name)).toContain("give NAME:PASSWORD");
    await ctr(daemon, "images", "rm", name);
  });
});
