/** What Debian's `ctr` 1.6 can do without images. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Screen } from "../ctr/screen.js";
import { useContainerd1 } from "../harness/containerd1.js";
import { unpackedProgram } from "../harness/paths.js";
import { isRunning, processesOf } from "../harness/processes.js";
import { makeRootfs, sharedRootfs } from "../harness/rootfs.js";
import { eventually } from "../harness/wait.js";
import { ctr1, ctr1Command, rows, runCtr1, startCtr1, withoutCtr1 } from "./ctr1.js";

const fixture = useContainerd1();

describe.skipIf(withoutCtr1)("Debian's ctr", () => {
  const ctr = (...args: string[]) => ctr1(fixture.daemon, ...args);
  const run = (id: string, command: string[], { flags = [] as string[], input = "" } = {}) =>
    runCtr1(fixture.daemon, ["run", ...flags, ...PATH, "--rootfs", sharedRootfs(), id, ...command], input);
  /** Without an image nobody says where programs are. */
  const PATH = ["--env", "PATH=/bin"];
  let count = 0;
  const one = () => fixture.daemon.id(`c${count++}`);
  const taskOf = async (id: string) => rows(await ctr("tasks", "ls")).find(([name]) => name === id);

  afterAll(async () => {
    await fixture.daemon.expectNothingLeft();
  });

  test("version", async () => {
    const text = await ctr("version");
    expect(text).toMatch(/^Client:\n {2}Version: +1\.6\./);
    expect(text).toMatch(/\nServer:\n {2}Version: +1\.6\.\S+\n {2}Revision: .*\n {2}UUID: [0-9a-f-]{36}\n/);
  });

  test("plugins ls", async () => {
    const plugins = rows(await ctr("plugins", "ls"));
    for (const name of [
      "tasks",
      "containers",
      "namespaces",
      "leases",
      "events",
      "introspection",
      "version",
      "healthcheck",
    ]) {
      expect(plugins, name).toContainEqual(["io.containerd.grpc.v1", name, "-", "ok"]);
    }
  });

  test("namespaces: create, ls, label, rm", async () => {
    await ctr("namespaces", "create", "made", "a=b");
    expect(rows(await ctr("namespaces", "ls"))).toContainEqual(["made", "a=b"]);
    await ctr("namespaces", "label", "made", "a=c", "d=e");
    expect(rows(await ctr("namespaces", "ls"))).toContainEqual(["made", "a=c,d=e"]);
    await ctr("namespaces", "label", "made", "a=", "d=");
    expect(rows(await ctr("namespaces", "ls"))).toContainEqual(["made"]);
    const again = await runCtr1(fixture.daemon, ["namespaces", "create", "made"]);
    expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining('namespace "made": already exists') });
    expect(await ctr("namespaces", "rm", "made")).toBe("made\n");
    expect(rows(await ctr("namespaces", "ls")).map(([name]) => name)).not.toContain("made");
  });

  test("containers: create, ls, info, label, rm", async () => {
    const id = one();
    await ctr(
      "containers",
      "create",
      "--label",
      "a=b",
      "--env",
      "X=y",
      "--rootfs",
      sharedRootfs(),
      id,
      "sleep",
      "1000",
    );
    expect(rows(await ctr("containers", "ls"))).toContainEqual([id, "-", "io.containerd.runc.v2"]);
    const info = JSON.parse(await ctr("containers", "info", id));
    expect(info).toMatchObject({ ID: id, Labels: { a: "b" }, Runtime: { Name: "io.containerd.runc.v2" } });
    expect(info.Spec.process).toMatchObject({ args: ["sleep", "1000"], env: expect.arrayContaining(["X=y"]) });
    await ctr("containers", "label", id, "c=d", "a=");
    expect(JSON.parse(await ctr("containers", "info", id)).Labels).toEqual({ c: "d" });
    expect(await ctr("containers", "ls", "-q", 'labels."c"==d')).toBe(`${id}\n`);
    expect(await ctr("containers", "ls", "-q", 'labels."c"==e')).toBe("");
    await ctr("containers", "rm", id);
    expect(await ctr("containers", "ls", "-q")).toBe("");
    const gone = await runCtr1(fixture.daemon, ["containers", "info", id]);
    expect(gone).toMatchObject({
      status: 1,
      stderr: expect.stringContaining(`container "${id}" in namespace "default": not found`),
    });
  });

  test("leases: create, ls, delete", async () => {
    expect(await ctr("leases", "create", "--id", "the-lease", "a=b")).toBe("the-lease\n");
    const [id, , labels] = rows(await ctr("leases", "ls")).find(([name]) => name === "the-lease")!;
    expect([id, labels]).toEqual(["the-lease", expect.stringMatching(/^a=b,containerd\.io\/gc\.expire=|,a=b$/)]);
    await ctr("leases", "delete", "--sync", "the-lease");
    expect(rows(await ctr("leases", "ls")).map(([name]) => name)).not.toContain("the-lease");
  });

  test.each([0, 3, 255])("run --rm: exit status %i, both outputs", async (status) => {
    const result = await run(one(), ["sh", "-c", `echo out; echo err >&2; exit ${status}`], { flags: ["--rm"] });
    expect(result).toEqual({ status, stdout: "out\n", stderr: "err\n" });
    expect(await ctr("containers", "ls", "-q")).toBe("");
  });

  test("run: stdin arrives whole and ends", async () => {
    const input = "0123456789abcdef".repeat(1 << 16);
    expect(await run(one(), ["wc", "-c"], { flags: ["--rm"], input })).toEqual({
      status: 0,
      stdout: `${input.length}\n`,
      stderr: "",
    });
  });

  test("run: environment, directory, memory, a mount, a writable rootfs", async () => {
    const { daemon } = fixture;
    const id = one();
    const rootfs = join(daemon.dir, "own-rootfs");
    makeRootfs(rootfs);
    const shared = join(daemon.dir, "shared");
    mkdirSync(shared);
    const flags = ["--rm", "--env", "NAME=value", "--cwd", "/tmp", "--memory-limit", "67108864"];
    const mount = ["--mount", `type=bind,src=${shared},dst=/mnt,options=rbind:rw`];
    const script = "echo $NAME; pwd; echo kept >/mnt/file; echo own >/file";
    const result = await runCtr1(daemon, [
      "run",
      ...flags,
      ...PATH,
      ...mount,
      "--rootfs",
      rootfs,
      id,
      "sh",
      "-c",
      script,
    ]);
    expect(result).toEqual({ status: 0, stdout: "value\n/tmp\n", stderr: "" });
    expect(readFileSync(join(shared, "file"), "utf8")).toBe("kept\n");
    expect(readFileSync(join(rootfs, "file"), "utf8")).toBe("own\n");
  });

  test("run of a command that is not there: the runtime's words, nothing left", async () => {
    const id = one();
    const result = await run(id, ["nope"], { flags: ["--rm"] });
    expect(result.status).toBe(1);
    expect(result.stderr).toContain('exec: "nope": executable file not found in $PATH');
    expect(await ctr("containers", "ls", "-q")).not.toContain(id);
    expect(await taskOf(id)).toBeUndefined();
  });

  test("run --log-uri file://: the output is in the file", async () => {
    const id = one();
    const log = join(fixture.daemon.dir, "the-log");
    const { status } = await run(id, ["sh", "-c", "echo out; echo err >&2"], {
      flags: ["-d", "--log-uri", `file://${log}`],
    });
    expect(status).toBe(0);
    await eventually(async () => (await taskOf(id))?.[2] === "STOPPED");
    await eventually(() => existsSync(log) && readFileSync(log, "utf8").length === "out\nerr\n".length);
    await ctr("tasks", "delete", id);
    await ctr("containers", "rm", id);
  });

  test("tasks of a container that runs: ls, ps, exec, pause, resume, metrics, kill, delete", async () => {
    const { daemon } = fixture;
    const id = one();
    expect(await run(id, ["sleep", "1000"], { flags: ["-d", "--pid-file", join(daemon.dir, "pid")] })).toMatchObject({
      status: 0,
    });
    const pid = readFileSync(join(daemon.dir, "pid"), "utf8");
    expect(await taskOf(id)).toEqual([id, pid, "RUNNING"]);
    expect(rows(await ctr("tasks", "ps", id))).toEqual([[pid, "-"]]);

    const exec = (execId: string, flags: string[], ...command: string[]) => [
      "tasks",
      "exec",
      "--exec-id",
      execId,
      ...flags,
      id,
      ...command,
    ];
    const script = "cat; echo err >&2; exit 5";
    const result = await runCtr1(daemon, exec("e", [], "sh", "-c", script), "some input");
    expect(result).toEqual({ status: 5, stdout: "some input", stderr: "err\n" });
    expect(await ctr(...exec("in", ["--cwd", "/tmp"], "pwd"))).toBe("/tmp\n");
    await ctr(...exec("detached", ["-d"], "sleep", "1001"));
    const [, detached] = rows(await ctr("tasks", "ps", id));
    expect(detached).toEqual([expect.stringMatching(/^\d+$/), expect.stringContaining("detached")]);
    await ctr("tasks", "kill", "--exec-id", "detached", "-s", "SIGKILL", id);
    await eventually(() => !isRunning(Number(detached![0])));
    await ctr("tasks", "delete", "--exec-id", "detached", id).catch((error) => {
      // It tells an exit status that is not 0 by its own.
      if (!/ended with 137: $/.test((error as Error).message)) throw error;
    });

    await ctr("tasks", "pause", id);
    expect((await taskOf(id))![2]).toBe("PAUSED");
    await ctr("tasks", "resume", id);
    expect((await taskOf(id))![2]).toBe("RUNNING");
    const metrics = await ctr("tasks", "metrics", id);
    expect(metrics).toMatch(new RegExp(`^ID +TIMESTAMP +\\n${id} +`));
    expect(metrics).toMatch(/\nmemory\.usage_in_bytes +\d+|\nmemory\.usage +\d+/);

    await ctr("tasks", "kill", "-s", "SIGKILL", id);
    await eventually(async () => (await taskOf(id))![2] === "STOPPED");
    await ctr("tasks", "delete", id).catch((error) => {
      if (!/ended with 137: $/.test((error as Error).message)) throw error;
    });
    expect(await taskOf(id)).toBeUndefined();
    await ctr("containers", "rm", id);
  });

  test("tasks start, attach to what runs, and a task that ctr waited for", async () => {
    const { daemon } = fixture;
    const id = one();
    await ctr("containers", "create", ...PATH, "--rootfs", sharedRootfs(), id, "cat");
    const started = startCtr1(daemon, "tasks", "start", id);
    started.child.stdin!.write("one\n");
    await started.printed("one");
    started.child.kill("SIGKILL");
    await started.result;
    const attached = startCtr1(daemon, "tasks", "attach", id);
    // What was read by the one that is gone is not told again.
    await eventually(() => processesOf(id).length > 0);
    attached.child.stdin!.write("two\n");
    await attached.printed("two");
    await ctr("tasks", "kill", "-s", "SIGKILL", id);
    expect((await attached.result).status).toBe(137);
    await ctr("containers", "rm", id);
  });

  test("tasks delete --force ends what runs", async () => {
    const id = one();
    await run(id, ["sleep", "1000"], { flags: ["-d"] });
    const refused = await runCtr1(fixture.daemon, ["tasks", "delete", id]);
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining("failed precondition") });
    await runCtr1(fixture.daemon, ["tasks", "delete", "--force", id]);
    expect(await taskOf(id)).toBeUndefined();
    await ctr("containers", "rm", id);
  });

  test("tasks checkpoint --image-path", async () => {
    const { daemon } = fixture;
    const id = one();
    await run(id, ["sleep", "1000"], { flags: ["-d", "--null-io"] });
    // New ones: ours writes into no directory that is there.
    const [first, second] = [join(daemon.dir, "images-1"), join(daemon.dir, "images-2")];
    await ctr("tasks", "checkpoint", "--image-path", first, id);
    expect(readdirSync(first, { recursive: true, encoding: "utf8" }).map((path) => basename(path))).toContain(
      "inventory.img",
    );
    expect((await taskOf(id))![2]).toBe("RUNNING");
    await ctr("tasks", "checkpoint", "--exit", "--image-path", second, id);
    await eventually(async () => (await taskOf(id))![2] === "STOPPED");
    await runCtr1(daemon, ["tasks", "delete", id]);
    await ctr("containers", "rm", id);
  });

  test("events", async () => {
    const { daemon } = fixture;
    const events = startCtr1(daemon, "events");
    await eventually(async () => {
      await ctr("namespaces", "label", "default", `at=${Date.now()}`);
      return events.output().includes("/namespaces/update");
    });
    const id = one();
    await run(id, ["sh", "-c", "exit 6"], { flags: ["--rm"] });
    await events.printed("/containers/delete");
    events.child.kill();
    await events.result;
    const told = events
      .output()
      .split("\n")
      .filter((line) => line.includes(id))
      .map((line) => / default (\S+) /.exec(line)![1]);
    expect(told).toEqual([
      "/containers/create",
      "/tasks/create",
      "/tasks/start",
      "/tasks/exit",
      "/tasks/delete",
      "/containers/delete",
    ]);
    expect(events.output()).toContain(`"exit_status":6`);
  });

  test("run -t: a terminal of the screen's size, keys, and the exit status", async () => {
    const { daemon } = fixture;
    const ctrProgram = [unpackedProgram("ctr")!, "--address", daemon.listen.slice("unix://".length)];
    using screen = new Screen(daemon, { columns: 90, rows: 25, ctr: ctrProgram });
    const id = one();
    const [, , , ...words] = ctr1Command(daemon, "run", "--rm", "-t", ...PATH, "--rootfs", sharedRootfs(), id, "sh");
    screen.line(`ctr ${words.join(" ")}; echo "status $?"`);
    await eventually(() => processesOf(id).length > 0);
    /** Asks again: ctr tells the size once the process has been started, and after each change. */
    const answers = (command: string, answer: RegExp) =>
      eventually(
        () => {
          screen.line(command);
          return answer.test(screen.text);
        },
        { interval: 200 },
      );
    await answers("stty size; tty", /25 90\s+\/dev\/pts\/0/);
    screen.resize(70, 20);
    await answers("stty size", /20 70/);
    screen.line("exit 7");
    await screen.shows("status 7");
    expect(await ctr("containers", "ls", "-q")).not.toContain(id);
  });
});
