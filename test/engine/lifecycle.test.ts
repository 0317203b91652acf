/** What becomes of the engine's containers: each call, repeated calls, calls that can't be granted. */
import { chmodSync, existsSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { inCgroupV1 } from "../harness/cgroup-v2.js";
import { useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { type Config, importImage, NO_STDIO, newId, requestFor, texts, type Wanted } from "../harness/engine.js";
import { cases } from "../harness/extent.js";
import { sharedRootfs } from "../harness/rootfs.js";
import { collect, openStdio } from "../harness/stdio.js";
import { type ApiV1, refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const SLEEP = { args: texts("sleep", "1000") };

// crun starts nothing where there are both versions of cgroups, as on many machines of tests.
const RUNTIMES = [{ runtime: "runc" }, { runtime: "crun", wrapper: inCgroupV1() }];

describe.each(cases(RUNTIMES))("with $runtime", ({ runtime, ...options }) => {
  const fixture = useContainerd1({ flags: ["--runtime", runtime], ...options });
  let daemon: TestDaemon;
  let api: ApiV1;

  beforeAll(async () => {
    daemon = fixture.daemon;
    api = daemon.v1();
    // Whoever is root in a container of its own ids is nobody here, and has to get to its root file system.
    chmodSync(daemon.dir, 0o711);
    await importImage(daemon);
  });

  async function running(config: Config = SLEEP, wanted: Partial<Wanted> = {}): Promise<string> {
    const id = newId(daemon);
    await api.engine.run({ create: requestFor({ id, config, ...wanted }), stdio: NO_STDIO });
    return id;
  }

  const statusOf = async (id: string) => (await api.engine.get({ id })).status;
  const removed = (id: string) => api.engine.remove({ id, force: true });

  test("a container with a layer of its own keeps what it has written", async () => {
    const id = newId(daemon);
    const config = { writable: true, args: texts("sh", "-c", "echo x >> /file; wc -l < /file"), env: ["A=b"] };
    await api.engine.create(requestFor({ id, name: "keeper", config }));
    expect(await api.engine.get({ id: "keeper" })).toMatchObject({
      id,
      status: "created",
      pid: 0,
      args: ["sh", "-c", config.args.values[2]],
    });
    for (const lines of ["1\n", "2\n"]) {
      using stdio = openStdio(daemon.dir, id);
      const stdout = collect(stdio.stdout);
      await api.engine.start({ id, stdio: { ...stdio.paths, stdin: "" } });
      expect(await api.engine.wait({ id })).toMatchObject({ status: 0, timedOut: false, oomKilled: false });
      expect(`${await stdout.whole}`).toBe(lines);
      await eventually(async () => expect(await statusOf(id)).toBe("stopped"));
    }
    // Nothing of a stopped one is in the run directory.
    expect((await api.tasks.list()).tasks).toEqual([]);
    await api.engine.remove({ id });
    expect(await refusal(api.engine.get({ id }))).toContain("NOT_FOUND: no container");
    expect(await api.listSnapshots("overlayfs", `name==${id}`)).toEqual([]);
  });

  test("a directory is a root file system: as it is, or below a layer", async () => {
    const rootfs = sharedRootfs();
    const id = await running({ rootfs, readOnly: true, ...SLEEP });
    expect(await statusOf(id)).toBe("running");
    await removed(id);
    const script = "stat -c %u /bin; [ -e /written ] && echo again; touch /written /bin/written; rm /bin/wc";
    for (const userns of ["host", "auto"]) {
      const below = newId(daemon);
      const config = { rootfs, writable: true, userns, args: texts("sh", "-c", script) };
      await api.engine.create(requestFor({ id: below, config }));
      for (const said of ["0\n", "0\nagain\n"]) {
        using stdio = openStdio(daemon.dir, below);
        const [stdout, stderr] = [collect(stdio.stdout), collect(stdio.stderr)];
        await api.engine.start({ id: below, stdio: { ...stdio.paths, stdin: "" } });
        await api.engine.wait({ id: below });
        expect(`${await stdout.whole}`, `${await stderr.whole}`).toBe(said);
      }
      expect(existsSync(join(rootfs, "written"))).toBe(false);
      expect(existsSync(join(rootfs, "bin/wc"))).toBe(true);
      await api.engine.remove({ id: below });
    }
    expect(await api.listSnapshots("overlayfs", "kind==active")).toEqual([]);
    const colon = requestFor({ id: newId(daemon), config: { rootfs: "/a:b", writable: true } });
    expect(await refusal(api.engine.create(colon))).toContain('INVALID_ARGUMENT: rootfs "/a:b"');
  });

  test("stop asks first, and kills after the grace period", async () => {
    const trapping = await running({ args: texts("sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done") });
    // Its shell runs a program, and so has set the trap.
    const inItsLoop = (id: string) =>
      eventually(async () => expect((await api.engine.top({ id })).pids.length).toBeGreaterThan(1));
    await inItsLoop(trapping);
    expect((await api.engine.stop({ id: trapping })).status).toBe(7);
    // Once more answers the same.
    expect((await api.engine.stop({ id: trapping })).status).toBe(7);
    const stubborn = await running({ args: texts("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done") });
    await inItsLoop(stubborn);
    expect((await api.engine.stop({ id: stubborn, grace: 100n })).status).toBe(137);
    const asked = await running({ ...SLEEP, stopSignal: "KILL" });
    expect((await api.engine.stop({ id: asked })).status).toBe(137);
    for (const id of [trapping, stubborn, asked]) await api.engine.remove({ id });
  });

  test("kill, pause, resume, restart, top and stats", async () => {
    const id = await running();
    await api.engine.pause({ id });
    await api.engine.pause({ id });
    expect(await statusOf(id)).toBe("paused");
    await api.engine.resume({ id });
    expect(await statusOf(id)).toBe("running");
    const { pid } = await api.engine.get({ id });
    expect((await api.engine.top({ id })).pids).toEqual([pid]);
    const stats = await api.engine.stats({ id });
    expect(stats.memoryUsage).toBeGreaterThan(0n);
    expect(stats.onlineCpus).toBeGreaterThan(0);
    const again = await api.engine.restart({ id, grace: 0n, stdio: NO_STDIO });
    expect(again.pid).not.toBe(pid);
    await api.engine.kill({ id, signal: "kill" });
    expect((await api.engine.wait({ id })).status).toBe(137);
    expect(await refusal(api.engine.kill({ id }))).toMatch(/FAILED_PRECONDITION: .*does not run: it is stopped/);
    await api.engine.remove({ id });
  });

  test("a name is one container's, and may change", async () => {
    const [a, b] = [await running(SLEEP, { name: "first" }), await running(SLEEP, { name: "second" })];
    expect(await refusal(api.engine.rename({ id: a, name: "second" }))).toMatch(/ALREADY_EXISTS: .*"second"/);
    await api.engine.rename({ id: "first", name: "third" });
    expect((await api.engine.get({ id: "third" })).id).toBe(a);
    expect(await refusal(api.engine.get({ id: "first" }))).toContain("NOT_FOUND");
    expect(await refusal(api.engine.rename({ id: b, name: "no/name" }))).toContain('INVALID_ARGUMENT: name "no/name"');
    for (const id of [a, b]) await removed(id);
  });

  test("lists by labels, states and names; ids may be cut off where that is clear", async () => {
    const [a, b] = [newId(daemon), newId(daemon)];
    await api.engine.create(requestFor({ id: a, name: "a", config: { ...SLEEP, labels: { group: "x", one: "1" } } }));
    await api.engine.run({
      create: requestFor({ id: b, name: "b", config: { ...SLEEP, labels: { group: "x", two: "" } } }),
      stdio: NO_STDIO,
    });
    const list = async (request: object) => (await api.engine.list(request)).containers.map(({ name }) => name).sort();
    expect(await list({ labels: ["group=x"] })).toEqual(["a", "b"]);
    expect(await list({ labels: ["group=x", "one"] })).toEqual(["a"]);
    expect(await list({ labels: ["group=y"] })).toEqual([]);
    expect(await list({ labels: ["group"], statuses: ["running"] })).toEqual(["b"]);
    expect(await list({ names: ["a", "b", "c"] })).toEqual(["a", "b"]);
    let common = 0;
    while (a[common] === b[common]) common++;
    expect(await refusal(api.engine.get({ id: a.slice(0, common) }))).toMatch(
      /INVALID_ARGUMENT: .*several containers' ids/,
    );
    expect((await api.engine.get({ id: a.slice(0, common + 1) })).id).toBe(a);
    expect((await api.engine.prune({ labels: ["group=x"] })).ids).toEqual([a]);
    await removed(b);
  });

  test("the same request again is answered as the first was", async () => {
    const id = newId(daemon);
    const create = requestFor({ id, config: SLEEP });
    const [first, second] = await Promise.all([
      api.engine.run({ create, stdio: NO_STDIO }),
      api.engine.run({ create, stdio: NO_STDIO }),
    ]);
    expect(second).toEqual(first);
    expect(await api.engine.create(create)).toMatchObject({ id });
    expect((await api.engine.start({ id, stdio: NO_STDIO })).pid).toBe(first.pid);
    const other = requestFor({ id, config: { args: texts("true") } });
    expect(await refusal(api.engine.create(other))).toContain("ALREADY_EXISTS: there is a container");
    await removed(id);
    expect(await refusal(api.engine.remove({ id }))).toContain("NOT_FOUND");
  });

  test("what can't be granted is refused, and leaves nothing", async () => {
    const at = (wanted: Partial<Wanted>) => requestFor({ id: newId(daemon), config: SLEEP, ...wanted });
    const table: [object, string][] = [
      [
        at({ config: { image: "docker.io/library/none:1", readOnly: true } }),
        'NOT_FOUND: no image "docker.io/library/none:1"',
      ],
      [at({ id: "a/b" }), "INVALID_ARGUMENT: id: identifier"],
      [at({ id: "x".repeat(100) }), "INVALID_ARGUMENT: id: identifier"],
      [at({ name: "-" }), 'INVALID_ARGUMENT: name "-"'],
      [at({ config: { image: "", rootfs: "relative" } }), 'INVALID_ARGUMENT: rootfs "relative"'],
      [at({ config: { image: "x", rootfs: "/" } }), "INVALID_ARGUMENT: a container has an image or a rootfs, not both"],
      [at({ config: { ...SLEEP, readOnly: false } }), "INVALID_ARGUMENT: an image's files can't be changed"],
      [at({ config: { ...SLEEP, network: "bridge" } }), 'INVALID_ARGUMENT: network "bridge"'],
      [at({ config: { ...SLEEP, env: ["A=\0"] } }), "INVALID_ARGUMENT"],
    ];
    for (const [request, words] of table) expect(await refusal(api.engine.create(request))).toContain(words);
    const run = (config: Config) => api.engine.run({ create: at({ config }), stdio: NO_STDIO });
    expect(await refusal(run({ args: texts("/no/such/program") }))).toMatch(/no such file|executable file/);
    expect(await refusal(run({ rootfs: "/no/such/directory", args: texts("true") }))).toMatch(
      /no such file|rootfs|not a directory/i,
    );
    expect(await refusal(run({ ...SLEEP, runtime: "no-such-runtime" }))).toContain("no-such-runtime");
    expect((await api.engine.list()).containers).toEqual([]);
    expect((await api.containers.list()).containers).toEqual([]);
    expect((await api.tasks.list()).tasks).toEqual([]);
    expect((await api.listSnapshots("overlayfs")).every(({ kind }) => kind === 3)).toBe(true);
    expect(await refusal(daemon.v1("moby").engine.list())).toContain("INVALID_ARGUMENT: namespace");
  });

  test("what runs is not removed without force", async () => {
    const id = await running({ ...SLEEP, writable: true });
    expect(await refusal(api.engine.remove({ id }))).toMatch(/FAILED_PRECONDITION: .*is running/);
    const waiting = api.engine.wait({ id });
    await removed(id);
    expect((await waiting).status).toBe(137);
  });

  test("auto_remove removes it once it has stopped; who waits is told", async () => {
    const id = await running({ args: texts("sh", "-c", "sleep 0.5; exit 5") }, { autoRemove: true });
    expect((await api.engine.wait({ id })).status).toBe(5);
    await eventually(async () => expect(await refusal(api.engine.get({ id }))).toContain("NOT_FOUND"));
  });

  test("it is killed when its lifetime is over, which may change", async () => {
    const id = await running(SLEEP, { lifetime: 300 });
    expect(await api.engine.wait({ id })).toMatchObject({ status: 137, timedOut: true });
    await api.engine.remove({ id });
    const longer = await running(SLEEP, { lifetime: 600_000 });
    expect((await api.engine.get({ id: longer })).endsAt).toBeDefined();
    await api.engine.update({ id: longer, lifetime: 200n });
    expect(await api.engine.wait({ id: longer })).toMatchObject({ status: 137, timedOut: true });
    await api.engine.remove({ id: longer });
  });

  test("out of memory shows in its end", async () => {
    const id = await running({
      args: texts("sh", "-c", "cat /dev/zero | head -c 200000000 | tail"),
      resources: { memory: 20_000_000n, memorySwap: 20_000_000n } as Config["resources"],
    });
    const exit = await api.engine.wait({ id });
    expect(exit.oomKilled).toBe(true);
    expect(exit.usage?.memoryPeak).toBeGreaterThan(10_000_000n);
    await api.engine.remove({ id });
  });

  test("one more process: its own end, its timeout with all that it has started", async () => {
    const id = await running();
    const run = async (args: string[], more: object = {}) => {
      const execId = newId(daemon);
      using stdio = openStdio(daemon.dir, execId);
      const [stdout, stderr] = [collect(stdio.stdout), collect(stdio.stderr)];
      await api.engine.exec({ id, execId, args, stdio: { ...stdio.paths, stdin: "" }, ...more });
      const { status, timedOut } = await api.engine.wait({ id, execId });
      await api.engine.deleteExec({ id, execId });
      return { stdout: `${await stdout.whole}`, stderr: `${await stderr.whole}`, status, timedOut };
    };
    expect(await run(["sh", "-c", "echo $A; pwd; exit 3"], { env: ["A=b"], workdir: "/tmp" })).toMatchObject({
      stdout: "b\n/tmp\n",
      status: 3,
      timedOut: false,
    });
    expect(await run(["sh", "-c", "sleep 1001 & (sleep 1002 &) ; sleep 1003"], { timeout: 500n })).toMatchObject({
      status: 137,
      timedOut: true,
    });
    const { pid } = await api.engine.get({ id });
    await eventually(async () => expect((await api.engine.top({ id })).pids).toEqual([pid]));
    const execId = newId(daemon);
    const request = { id, execId, args: ["sleep", "1000"], stdio: NO_STDIO };
    const first = await api.engine.exec(request);
    expect(await api.engine.exec(request)).toEqual(first);
    expect(await refusal(api.engine.exec({ ...request, args: ["true"] }))).toContain("ALREADY_EXISTS");
    expect(await refusal(api.engine.deleteExec({ id, execId }))).toContain("FAILED_PRECONDITION");
    expect((await api.engine.get({ id })).execIds).toEqual([execId]);
    await api.engine.kill({ id, execId });
    expect((await api.engine.wait({ id, execId })).status).toBe(137);
    await api.engine.deleteExec({ id, execId });
    expect(await refusal(api.engine.exec({ ...request, execId: "none", args: ["/no/such"] }))).toMatch(
      /no such file|executable/,
    );
    expect((await api.engine.get({ id })).execIds).toEqual([]);
    await api.engine.pause({ id });
    expect(await refusal(api.engine.exec(request))).toMatch(/FAILED_PRECONDITION: .*paused/);
    await api.engine.resume({ id });
    await api.engine.stop({ id, grace: 0n });
    expect(await refusal(api.engine.exec(request))).toMatch(/FAILED_PRECONDITION: .*stopped/);
    await api.engine.remove({ id });
  });

  test("clients of 1.x see it, and may kill and exec, but not take away what the engine manages", async () => {
    const id = await running({ ...SLEEP, writable: true });
    expect((await api.containers.get({ id })).container?.id).toBe(id);
    expect((await api.tasks.get({ containerId: id })).process?.pid).toBeGreaterThan(0);
    const { container } = await api.containers.get({ id });
    for (const refused of [
      () => api.containers.delete({ id }),
      () => api.containers.update({ container: container!, updateMask: ["labels"] }),
      () => api.tasks.delete({ containerId: id }),
      () => api.snapshots.remove({ snapshotter: "overlayfs", key: id }),
      () => api.snapshots.commit({ snapshotter: "overlayfs", key: id, name: "committed", labels: {} }),
    ])
      expect(await refusal(refused())).toMatch(/FAILED_PRECONDITION: .*ctr rm /);
    const forged = { ...container!, id: newId(daemon) };
    expect(await refusal(api.containers.create({ container: forged }))).toContain("INVALID_ARGUMENT");
    await api.tasks.kill({ containerId: id, signal: 9 });
    expect((await api.engine.wait({ id })).status).toBe(137);
    expect(await refusal(api.tasks.create({ containerId: id }))).toContain("FAILED_PRECONDITION");
    await api.engine.remove({ id });
  });
});
