/** Containers from images in Debian's `ctr` 1.6. */
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Screen } from "../ctr/screen.js";
import { useContainerd1 } from "../harness/containerd1.js";
import { unpackedProgram } from "../harness/paths.js";
import { makeTestImage, type StandardImage } from "../harness/test-images.js";
import { eventually } from "../harness/wait.js";
import { ctr1, ctr1Command, removeImages, rows, runCtr1, withoutCtr1 } from "./ctr1.js";

const fixture = useContainerd1();

describe.skipIf(withoutCtr1)("Debian's ctr: run from an image", () => {
  const ctr = (...args: string[]) => ctr1(fixture.daemon, ...args);
  const path = (name: string) => join(fixture.daemon.dir, name);
  const run = (args: string[], input = "") => runCtr1(fixture.daemon, ["run", ...args], input);
  let count = 0;
  const one = () => fixture.daemon.id(`c${count++}`);
  let edges: StandardImage;
  let base: StandardImage;

  beforeAll(async () => {
    const config = {
      Entrypoint: ["sh", "-c"],
      Cmd: ["id; pwd; echo $FOO; ls -d data/2"],
      Env: ["PATH=/bin:/usr/bin", "FOO=bar"],
      WorkingDir: "/",
      User: "web",
    };
    edges = await makeTestImage(path("edges"), "edges", { config });
    await edges.layout.archive(path("edges.tar"));
    await ctr("images", "import", path("edges.tar"));
    // CRIU does not dump what runs as somebody else than root.
    base = await makeTestImage(path("base"), "base");
    await base.layout.archive(path("base.tar"));
  });
  afterEach(async () => {
    for (const id of (await ctr("tasks", "ls", "-q")).split("\n").filter((line) => line !== "")) {
      await runCtr1(fixture.daemon, ["tasks", "delete", "--force", id]);
    }
    for (const id of (await ctr("containers", "ls", "-q")).split("\n").filter((line) => line !== "")) {
      await ctr("containers", "rm", id);
    }
  });
  afterAll(async () => {
    await removeImages(fixture.daemon);
    expect(rows(await ctr("snapshots", "ls"))).toEqual([]);
    await fixture.daemon.expectNothingLeft();
  });
  const snapshots = async () => rows(await ctr("snapshots", "ls")).map(([key]) => key);

  test("its own command: user, groups, directory, environment; nothing is left", async () => {
    const result = await run(["--rm", edges.name, one()]);
    const user = "uid=1001(web) gid=1002(web) groups=1002(web),1003(extra)";
    expect(result).toEqual({ status: 0, stdout: `${user}\n/\nbar\ndata/2\n`, stderr: "" });
    expect(await snapshots()).toHaveLength(3);
  });

  test("another command, user, directory and environment; the exit status", async () => {
    const flags = ["--rm", "--env", "FOO=other", "--cwd", "/tmp"];
    const script = "pwd; echo $FOO; cat /data/1/new.txt; ls /data/3; ls -ln /home2/u; exit 9";
    const { status, stdout } = await run([...flags, edges.name, one(), "sh", "-c", script]);
    const [directory, value, file] = stdout.split("\n");
    expect([status, directory, value, file!.slice(0, 3)]).toEqual([9, "/tmp", "other", "new"]);
    expect(stdout).toMatch(/-rw-r--r-- +1 70000 +70001 +1 /);
  });

  test("stdin; what is written stays in the container's own layer, and another one does not see it", async () => {
    const [first, second] = [one(), one()];
    const script = "cat >/tmp/written; echo more >>/tmp/written; ls -l /tmp";
    // More than a pipe holds: an end of input that comes before the program's start gets lost in ctr.
    const input = "text".repeat(1 << 17);
    expect(await run([edges.name, first, "sh", "-c", script], input)).toMatchObject({
      status: 0,
      stdout: expect.stringContaining("written"),
    });
    expect(await snapshots()).toContain(first);
    expect((await run(["--rm", edges.name, second, "ls", "/tmp"])).stdout).toBe("");
    const [[key, size, unit, inodes]] = rows(await ctr("snapshots", "usage", first)) as [string[]];
    expect([key, unit]).toEqual([first, "KiB"]);
    expect(Number(size)).toBeGreaterThan(512);
    expect(Number(inodes)).toBeGreaterThanOrEqual(3);
  });

  test("--read-only", async () => {
    const result = await run(["--rm", "--read-only", edges.name, one(), "touch", "/new"]);
    expect(result).toMatchObject({ status: 1, stderr: "touch: /new: Read-only file system\n" });
  });

  test("a program that is not there: the runtime's words, nothing is left", async () => {
    const result = await run(["--rm", edges.name, one(), "nope"]);
    expect(result.stderr).toContain('exec: "nope": executable file not found in $PATH');
    expect(result.status).toBe(1);
    expect(await ctr("containers", "ls", "-q")).toBe("");
    expect(await snapshots()).toHaveLength(3);
  });

  test("an image that is not there, and an id that is taken", async () => {
    expect(await run(["--rm", "registry.test/nope:1", one(), "true"])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('image "registry.test/nope:1": not found'),
    });
    const id = one();
    await run(["-d", edges.name, id, "sleep", "1000"]);
    expect(await run(["-d", edges.name, id, "true"])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("already exists"),
    });
  });

  test("-d, exec, and a removal of the image meanwhile: the container goes on", async () => {
    const id = one();
    expect(await run(["-d", edges.name, id, "sleep", "1000"])).toMatchObject({ status: 0 });
    expect(rows(await ctr("containers", "ls"))).toContainEqual([id, edges.name, "io.containerd.runc.v2"]);
    await removeImages(fixture.daemon);
    const words = [
      "tasks",
      "exec",
      "--exec-id",
      "e",
      id,
      "sh",
      "-c",
      "cat /data/1/new.txt; touch /tmp/new; ls /tmp/new",
    ];
    const exec = await runCtr1(fixture.daemon, words);
    expect(exec).toEqual({ status: 0, stdout: "new/tmp/new\n", stderr: "" });
    expect(await snapshots()).toHaveLength(4);
    await runCtr1(fixture.daemon, ["tasks", "delete", "--force", id]);
    await ctr("containers", "rm", id);
    await ctr("images", "import", path("edges.tar"));
    expect(await snapshots()).toHaveLength(3);
  });

  test("-t: a terminal", async () => {
    const program = [unpackedProgram("ctr")!, "--address", fixture.daemon.listen.slice("unix://".length)];
    using screen = new Screen(fixture.daemon, { columns: 90, rows: 25, ctr: program });
    const [, , , ...words] = ctr1Command(fixture.daemon, "run", "--rm", "-t", edges.name, one(), "sh");
    screen.line(`ctr ${words.join(" ")}; echo "status $?"`);
    const answers = (command: string, answer: RegExp) =>
      eventually(
        () => {
          screen.line(command);
          return answer.test(screen.text);
        },
        { interval: 200 },
      );
    await answers("stty size; id -un", /25 90\s+web/);
    screen.line("exit 7");
    await screen.shows("status 7");
  });

  test("tasks checkpoint --exit --image-path", async () => {
    const id = one();
    await ctr("images", "import", path("base.tar"));
    await run(["-d", "--null-io", base.name, id, "sleep", "1000"]);
    await ctr("tasks", "checkpoint", "--exit", "--image-path", path("criu"), id);
    expect(readdirSync(path("criu"), { recursive: true, encoding: "utf8" }).map((name) => basename(name))).toContain(
      "inventory.img",
    );
    await eventually(async () => rows(await ctr("tasks", "ls"))[0]![2] === "STOPPED");
  });
});
