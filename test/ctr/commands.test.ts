import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { commit, version } from "../../build/version.js";
import { cgroupFile } from "../harness/cgroup-files.js";
import { startDaemon } from "../harness/daemon.js";
import { ctrProgram } from "../harness/paths.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { eventually } from "../harness/wait.js";
import { ctr, ctrEnvironment, ctrError, runCtr, startCtr } from "./ctr.js";

test("version", async () => {
  await using daemon = await startDaemon();
  // No empty "commit:" where the programs were not built from a commit.
  const { revision } = await daemon.api.getServerVersion();
  expect(revision).toBe(commit());
  expect(await ctr(daemon, "version")).toBe(`daemon version ${version()}${revision && ` commit: ${revision}`}\n`);
  for (const flag of ["--version", "-v"]) expect(await ctr(daemon, flag)).toMatch(/^ctr version 0\.2\.\d+\n$/);
  // The bare path of a socket is enough.
  expect(await ctr(daemon, "-address", daemon.listen.replace("unix://", ""), "version")).toContain("daemon version");
});

test("start, list and state, with labels", async () => {
  await using daemon = await startDaemon();
  expect(await ctr(daemon, "containers")).toBe(
    "ID                  PATH                STATUS              PROCESSES\n",
  );
  const [b, a] = [daemon.id("b"), daemon.id("a")];
  const bundle = daemon.bundle("x", { args: ["sleep", "1000"] });
  await ctr(daemon, "containers", "start", b, bundle);
  await ctr(daemon, "containers", "start", "--label", "tier=front", "-l", "x", "--no-pivot", a, bundle);
  const pad = (text: string) => text.padEnd(Math.max(20, text.length + 3));
  const line = (id: string) => `${pad(id)}${pad(bundle)}${pad("running")}init\n`;
  const columns = [a, bundle].map((text) => Math.max(20, text.length + 3));
  const heading = `${"ID".padEnd(columns[0]!)}${"PATH".padEnd(columns[1]!)}${pad("STATUS")}PROCESSES\n`;
  expect(await ctr(daemon, "containers", "list")).toBe(heading + line(a) + line(b));
  expect(await ctr(daemon, "containers", b)).toBe(heading + line(b));
  const state = await ctr(daemon, "state");
  expect(state).toBe(JSON.stringify(JSON.parse(state)));
  const { containers, machine } = JSON.parse(state);
  expect(containers.find(({ id }: { id: string }) => id === a)).toMatchObject({
    bundlePath: bundle,
    labels: ["tier=front", "x"],
    status: "running",
    runtime: "runc",
    processes: [{ pid: "init", args: ["sleep", "1000"], user: {} }],
  });
  expect(JSON.parse(readFileSync(join(daemon.stateDir, a, "state.json"), "utf8")).noPivotRoot).toBe(true);
  expect(JSON.parse(readFileSync(join(daemon.stateDir, b, "state.json"), "utf8")).noPivotRoot).toBe(false);
  expect(machine).toEqual({ cpus: expect.any(Number), memory: expect.any(Number) });
  expect(JSON.parse(await ctr(daemon, "containers", "state", b)).containers).toHaveLength(1);
});

test("--runtime-args reach the runtime: the one of --runtime, or else runc as in the original", async () => {
  await using daemon = await startDaemon();
  const { path } = wrapRuntime(daemon.dir, "noting", "state", { kind: "fail" });
  const bundle = daemon.bundle("x", { args: ["sleep", "1000"] });
  const log = join(daemon.dir, "runtime.log");
  await ctr(
    daemon,
    ...["containers", "start", "--runtime", path, "--runtime-args", "--debug", "--runtime-args", `--log=${log}`],
    ...[daemon.id("a"), bundle],
  );
  expect(readFileSync(`${path}.calls`, "utf8")).toMatch(new RegExp(` --debug --log=${log} create `));
  await ctr(daemon, "containers", "start", "--runtime-args=--debug", daemon.id("b"), bundle);
  const { containers } = JSON.parse(await ctr(daemon, "containers", "state", daemon.id("b")));
  expect(containers[0].runtime).toBe("runc");
  expect(JSON.parse(readFileSync(join(daemon.stateDir, daemon.id("b"), "state.json"), "utf8"))).toMatchObject({
    runtimeArgs: ["--debug"],
  });
});

test("kill takes names and numbers, and processes", async () => {
  await using daemon = await startDaemon();
  const id = daemon.id("a");
  await ctr(daemon, "containers", "start", id, daemon.bundle("a", { args: ["sleep", "1000"] }));
  for (const [index, signal] of ["9", "KILL", "SIGKILL", "sigkill"].entries()) {
    const exec = await runCtr(daemon, ["containers", "exec", "--id", id, "--pid", `e${index}`, "sleep", "1000"]);
    expect(exec).toMatchObject({
      status: 0,
      stderr: `[ctr] process e${index} has been started; nothing of it is shown without --attach\n`,
    });
    await ctr(daemon, "containers", "kill", "--signal", signal, "--pid", `e${index}`, id);
    await eventually(async () => (await ctr(daemon, "containers")).endsWith("init\n"));
  }
  expect(await ctrError(daemon, "containers", "kill", "-s", "FOO", id)).toBe('unknown signal "FOO"');
  await ctr(daemon, "containers", "kill", "-s=KILL", id);
  await daemon.expectNothingLeft();
});

test("pause and resume", async () => {
  await using daemon = await startDaemon();
  const id = daemon.id("a");
  await ctr(daemon, "containers", "start", id, daemon.bundle("a", { args: ["sleep", "1000"] }));
  await ctr(daemon, "containers", "pause", id);
  expect(await ctr(daemon, "containers")).toMatch(/ paused +init\n$/);
  await ctr(daemon, "containers", "resume", id);
  expect(await ctr(daemon, "containers")).toMatch(/ running +init\n$/);
});

test("update changes what is given and nothing else; stats is the original's JSON", async () => {
  await using daemon = await startDaemon();
  const id = daemon.id("a");
  await ctr(daemon, "containers", "start", id, daemon.bundle("a", { args: ["sleep", "1000"] }));
  await ctr(daemon, "containers", "update", "--memory-limit", "0x4000000", "--pids-limit=17", id);
  const text = await ctr(daemon, "containers", "stats", id);
  // Larger numbers than JavaScript has; nothing but digits all the same.
  expect(text).toMatch(
    /^\{.*"cgroup_stats":\{"cpu_stats":\{"cpu_usage":\{"total_usage":\d+,.*\},"timestamp":\{"seconds":\d+,"nanos":\d+\}\}$/,
  );
  const { cgroup_stats } = JSON.parse(text);
  expect(cgroup_stats.memory_stats.usage.limit).toBe(64 * 1024 * 1024);
  expect(cgroup_stats.pids_stats).toEqual({ current: 1, limit: 17 });
  expect(await ctrError(daemon, "containers", "update", id)).toBe("nothing to update: give at least one limit");
  expect(await ctrError(daemon, "containers", "update", "--cpu-shares", "1x", id)).toBe(
    'invalid number "1x" for --cpu-shares',
  );
});

// On cgroup v2 the files have other names.
const isV1 = existsSync("/sys/fs/cgroup/memory/memory.limit_in_bytes");
const EVERY_FLAG = "update: every flag, read back from the cgroup, or the reason why not";
test.skipIf(!isV1)(isV1 ? EVERY_FLAG : `${EVERY_FLAG} (skipped: no cgroup v1)`, async () => {
  await using daemon = await startDaemon();
  const id = daemon.id("a");
  const bundle = daemon.bundle("a", { args: ["sleep", "1000"], memoryLimit: 512 * 1024 * 1024 });
  await ctr(daemon, "containers", "start", id, bundle);
  const pid = JSON.parse(await ctr(daemon, "containers", "state", id)).containers[0].processes[0].systemPid;
  const cases: [flag: string, value: string, controller: string, file: string, text?: string][] = [
    ["memory-limit", "0x10000000", "memory", "memory.limit_in_bytes", String(256 * 1024 * 1024)],
    ["memory-reservation", "67108864", "memory", "memory.soft_limit_in_bytes"],
    ["memory-swap", "402653184", "memory", "memory.memsw.limit_in_bytes"],
    ["kernel-limit", "104857600", "memory", "memory.kmem.limit_in_bytes"],
    ["kernel-tcp-limit", "33554432", "memory", "memory.kmem.tcp.limit_in_bytes"],
    ["cpu-period", "50000", "cpu", "cpu.cfs_period_us"],
    ["cpu-quota", "20000", "cpu", "cpu.cfs_quota_us"],
    ["cpu-shares", "333", "cpu", "cpu.shares"],
    ["cpuset-cpus", "0", "cpuset", "cpuset.cpus"],
    ["cpuset-mems", "0", "cpuset", "cpuset.mems"],
    ["blkio-weight", "450", "blkio", "blkio.bfq.weight"],
    ["pids-limit", "0o21", "pids", "pids.max", "17"],
  ];
  // As many as the command has.
  expect(
    (await ctr(daemon, "containers", "update", "--help")).match(/^ +--[\w-]+ <(size|number|list)>/gm),
  ).toHaveLength(cases.length);
  for (const [flag, value, controller, file, text = value] of cases) {
    const { status, stderr } = await runCtr(daemon, ["containers", "update", `--${flag}`, value, id]);
    if (status !== 0) {
      expect(stderr, flag).toMatch(/^\[ctr\] (kernel(Tcp)?Memory: this kernel has no such limit|.*blkio.*weight.*)\n$/);
      continue;
    }
    expect(cgroupFile(pid, controller, file), flag).toBe(text);
  }
});

test("--debug tells an error's code and where it comes from, without it one line has to do", async () => {
  await using daemon = await startDaemon();
  const words = ["containers", "state", "none"];
  const { status, stderr } = await runCtr(daemon, ["--debug", ...words]);
  expect(status).toBe(1);
  expect(stderr).toMatch(/^\[ctr\] containerd: container not found: "none"\ncode: NOT_FOUND\n.*\n +at /);
  expect(await ctrError(daemon, ...words)).toBe('containerd: container not found: "none"');
});

test("events: stored ones by default and from a time on, then those that come", async () => {
  await using daemon = await startDaemon();
  const id = daemon.id("a");
  await runCtr(daemon, ["containers", "start", "-a", id, daemon.bundle("a", { args: ["sh", "-c", "exit 3"] })]);
  const running = startCtr(daemon, "events");
  await running.printed("exit");
  await runCtr(daemon, ["containers", "start", "-a", daemon.id("b"), daemon.bundle("b", { args: ["true"] })]);
  await running.printed(daemon.id("b"));
  await eventually(() => readFileSync(`${daemon.stateDir}/events.log`, "utf8").split("\n").length === 5);
  await eventually(() => running.output().split("\n").length === 6);
  running.child.kill("SIGTERM");
  const lines = String((await running.result).stdout)
    .trimEnd()
    .split("\n");
  const fields = (line: string) => line.split(/ +/);
  expect(fields(lines[0]!)).toEqual(["TIME", "TYPE", "ID", "PID", "STATUS"]);
  expect(lines[0]).toBe(
    "TIME                           TYPE                           ID                             PID                            STATUS",
  );
  expect(lines.slice(1).map((line) => fields(line).slice(1))).toEqual([
    ["start-container", id, "0"],
    ["exit", id, "init", "3"],
    ["start-container", daemon.id("b"), "0"],
    ["exit", daemon.id("b"), "init", "0"],
  ]);
  expect(lines[1]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z +start-container/);
  const second = fields(lines[2]!)[0]!;
  const later = startCtr(daemon, "events", "--timestamp", second);
  await later.printed(daemon.id("b"));
  later.child.kill("SIGTERM");
  expect(String((await later.result).stdout)).not.toContain(id.concat(" "));
});

test("watch shows one container's events", async () => {
  await using daemon = await startDaemon();
  const [a, b] = [daemon.id("a"), daemon.id("b")];
  for (const id of [a, b]) await ctr(daemon, "containers", "start", id, daemon.bundle(id, { args: ["sleep", "1000"] }));
  const running = startCtr(daemon, "containers", "watch", a);
  // It has subscribed when it tells something.
  await eventually(
    async () => {
      for (const status of ["paused", "running"]) await daemon.api.updateContainer({ id: a, status });
      return running.output().includes(a);
    },
    { interval: 100 },
  );
  await ctr(daemon, "containers", "kill", "-s", "9", b);
  await ctr(daemon, "containers", "kill", "-s", "9", a);
  await running.printed('"exit"');
  running.child.kill("SIGTERM");
  const { stdout } = await running.result;
  expect(String(stdout)).toMatch(
    new RegExp(`\n{"timestamp":"[^"]+Z","type":"exit","id":"${a}","pid":"init","status":137}\n$`),
  );
  expect(String(stdout)).not.toContain(b);
  const none = daemon.id("none");
  expect(await ctrError(daemon, "containers", "watch", none)).toBe(`containerd: container not found: "${none}"`);
});

test("checkpoints: none, and what is refused", async () => {
  await using daemon = await startDaemon();
  const id = daemon.id("a");
  await ctr(daemon, "containers", "start", id, daemon.bundle("a", { args: ["sleep", "1000"] }));
  const heading = "NAME                TCP                 UNIX SOCKETS        SHELL\n";
  expect(await ctr(daemon, "checkpoints", id)).toBe(heading);
  expect(await ctr(daemon, "checkpoints", "list", id)).toBe(heading);
  expect(await ctrError(daemon, "checkpoints", "list", "none")).toBe('no such containers: "none"');
  expect(await ctrError(daemon, "checkpoints", "create", id)).toBe(
    "checkpoint name cannot be empty: ctr checkpoints create [flags] ID NAME",
  );
  expect(await ctrError(daemon, "checkpoints", "delete")).toBe(
    "container id cannot be empty: ctr checkpoints delete [flags] ID NAME",
  );
  expect(await ctrError(daemon, "checkpoints", "create", id, "a/b")).toContain('"a/b"');
});

test("bad command lines", async () => {
  await using daemon = await startDaemon();
  const cases: [string[], string | RegExp][] = [
    [["nope"], "unknown command 'nope'"],
    [["contaners"], /unknown command 'contaners'.*containers/s],
    [["containers", "nope"], 'containerd: container not found: "nope" is neither a command nor a container'],
    [["containers", "nope", "x"], 'unknown command "nope" for "ctr containers"'],
    [["--nope", "version"], "flag provided but not defined: -nope"],
    [["containers", "kill", "-9", "x"], "flag provided but not defined: -9: type --signal 9"],
    [["containers", "kill"], "container id cannot be empty: ctr containers kill [flags] ID"],
    [["containers", "start", "x"], "bundle path cannot be empty: ctr containers start [flags] ID BUNDLE"],
    [["containers", "start"], "bundle path cannot be empty: ctr containers start [flags] ID BUNDLE"],
    [["containers", "stats"], "container id cannot be empty: ctr containers stats ID | --watch [ID...]"],
    [["containers", "exec", "ls"], "container id cannot be empty: give it with --id ID"],
    [["containers", "exec", "--id", "x", "ls"], "process id cannot be empty: give it with --pid NAME"],
    [["containers", "exec", "--id", "x", "--pid", "y"], /^command cannot be empty: ctr containers exec --id ID/],
    [["containers", "exec", "--uid", "root", "--id", "x", "--pid", "y", "ls"], /root/],
    [["--conn-timeout", "5x", "version"], 'invalid duration "5x"'],
    [["--address", "bla", "version"], /^bad address "bla", expected proto:\/\/address/],
    [
      ["--address", "unix:///nope/s", "version"],
      "cannot reach containerd at unix:///nope/s: no such file or directory",
    ],
    [["events", "-t", "yesterday"], /^invalid time "yesterday"/],
    [["containers", "state", "none"], 'containerd: container not found: "none"'],
    [["containers", "stats", "none"], 'containerd: container not found: "none"'],
    [["containers", "pause", "none"], 'containerd: container not found: "none"'],
  ];
  for (const [args, message] of cases) {
    const { status, stderr } = await runCtr(daemon, args);
    expect(status, args.join(" ")).toBe(1);
    if (typeof message === "string") expect(stderr).toBe(`[ctr] ${message}\n`);
    else expect(stderr.replace("[ctr] ", "")).toMatch(message);
  }
});

test("what other programs' users type is answered with what to type here, whatever flags it has", async () => {
  await using daemon = await startDaemon();
  const cases: [string[], string][] = [
    [["network", "ls"], "unknown command 'network': type: ctr networks ls"],
    [["image", "ls"], "unknown command 'image': type: ctr images ls"],
    [["pull", "alpine"], "unknown command 'pull': type: ctr images pull IMAGE"],
    [["rmi", "-f", "alpine"], "unknown command 'rmi': type: ctr images rm IMAGE"],
    [["load", "-i", "x.tar"], "unknown command 'load': type: ctr images import FILE"],
    [["save", "-o", "x.tar", "alpine"], "unknown command 'save': type: ctr images export IMAGE FILE"],
    [["images", "pull", "-k", "alpine"], "-k: a certificate of the registry's authority belongs into"],
    [["images", "ls", "-n", "k8s.io"], "-n: it stands before the command: ctr --namespace NAME images"],
    [["container", "ls", "-a"], "unknown command 'container': type: ctr ps [options]"],
    [["container", "exec", "-it", "web", "sh"], "unknown command 'container': type: ctr exec [flags] CONTAINER"],
    [["port", "web"], "unknown command 'port': type: ctr ps"],
    [["delete", "web"], "unknown command 'delete': type: ctr rm CONTAINER"],
    [["-a", "unix:///x", "task", "ls"], "unknown command 'task': type: ctr containers"],
    [["--wrong", "nope", "--flag"], "unknown command 'nope'"],
    [["-n", "default", "c", "ls"], "unknown command 'c': type: ctr containers list"],
    [["namespaces", "ls"], "unknown command 'namespaces': a namespace is there once something is in it"],
    [["i", "ls"], "unknown command 'i': type: ctr images ls"],
    [["c", "ls"], "unknown command 'c': type: ctr containers list"],
    [["task", "exec", "--exec-id", "e", "-t", "web", "sh"], "type: ctr containers exec --id ID --pid NAME"],
    [["task", "kill", "-s", "SIGKILL", "web"], "unknown command 'task': type: ctr containers kill"],
    [["task", "metrics", "web"], "unknown command 'task': type: ctr containers stats ID"],
    [["c", "create", "image", "web"], "unknown command 'c': a container is created and started at once"],
    [["checkpoint", "create", "web"], "unknown command 'checkpoint': type: ctr checkpoints create [flags] ID NAME"],
    [["c", "restart", "web"], "unknown command 'c': a container that has ended is started anew"],
    [["containers", "list", "--format", "json"], "flag provided but not defined: -format: type --json"],
    [["containers", "ls", "-a"], "flag provided but not defined: -a: all are listed"],
    [["containers", "kill", "-KILL", "web"], "flag provided but not defined: -KILL: type --signal KILL"],
    [["containers", "start", "-it", "web", "/b"], "-it: type --attach; config.json says whether there is a terminal"],
    [["state", "--json"], "flag provided but not defined: -json: it prints JSON as it is"],
    [["events", "--since", "1h"], "flag provided but not defined: -since: type --timestamp TIME"],
    [
      ["containers", "rm", "-f", "web"],
      'unknown command "rm" for "ctr containers": a container is removed when it ends',
    ],
    [["containers", "info", "web"], 'unknown command "info" for "ctr containers": type: ctr containers state ID'],
    [["containers", "logs"], 'container not found: "logs" is neither a command nor a container; output goes to'],
    [["containers", "exec", "-it", "web", "sh"], "flag provided but not defined: -it: type --attach --tty"],
    [["containers", "start", "--name", "x"], "flag provided but not defined: -name: the id is an argument"],
    [["containers", "kill", "web", "KILL"], 'unexpected argument "KILL": type: ctr containers kill --signal KILL ID'],
    [["containers", "kill", "web", "9"], 'unexpected argument "9": type: ctr containers kill --signal 9 ID'],
    [["containers", "kill", "a", "b"], 'unexpected argument "b": type: ctr containers kill [flags] ID'],
    [["containers", "kill", "a", "-s", "9", "\u001b[1m"], 'unexpected argument "\\u001b[1m": type: '],
    [["containers", "start", "web", "/b", "sh"], 'unexpected argument "sh": the command to run is in the bundle\'s'],
    [["containers", "pause", "a", "b"], 'unexpected argument "b": type: ctr containers pause ID'],
    [["containers", "resume", "a", "b"], 'unexpected argument "b": type: ctr containers resume ID'],
    [["containers", "update", "a", "64m"], 'unexpected argument "64m": type: ctr containers update [flags] ID'],
    [["containers", "state", "a", "b"], 'unexpected argument "b": type: ctr containers state'],
    [["containers", "list", "a", "b"], 'unexpected argument "b": type: ctr containers list'],
    [["containers", "watch", "a", "b"], 'unexpected argument "b": type: ctr containers watch'],
    [["checkpoints", "create", "a", "b", "c"], 'unexpected argument "c": type: ctr checkpoints create [flags] ID NAME'],
    [["checkpoints", "delete", "a", "b", "c"], 'unexpected argument "c": type: ctr checkpoints delete [flags] ID NAME'],
    [["checkpoints", "list", "a", "b"], 'unexpected argument "b": type: ctr checkpoints list'],
    [["state", "a", "b"], 'unexpected argument "b": type: ctr state'],
    [["version", "x"], 'unexpected argument "x": type: ctr version'],
    [["events", "x"], 'unexpected argument "x": type: ctr events'],
    [["completion", "bash", "x"], 'unexpected argument "x": type: ctr completion'],
  ];
  for (const [args, message] of cases) {
    const said = await ctrError(daemon, ...args);
    expect(said, args.join(" ")).toContain(message);
  }
});

test("a start that can't be says what to do: an id in use, no bundle, no runtime, no command", async () => {
  await using daemon = await startDaemon();
  const [id, other] = [daemon.id("a"), daemon.id("b")];
  const bundle = daemon.bundle("a", { args: ["sleep", "1000"] });
  await ctr(daemon, "containers", "start", id, bundle);
  expect(await ctrError(daemon, "containers", "start", id, bundle)).toBe(
    `the id "${id}" is taken by a container that is there: choose another, or end that one first ` +
      `(mkdir ${daemon.stateDir}/${id}: file exists)`,
  );
  for (const flags of [[], ["--attach"]])
    expect(await ctrError(daemon, "containers", "start", ...flags, other, daemon.dir)).toBe(
      `open ${daemon.dir}/config.json: no such file or directory; bundle must be a folder with config.json on the daemon's machine`,
    );
  expect(await ctrError(daemon, "containers", "start", "--runtime", "nope", other, bundle)).toContain(
    "nope not installed on system; runtime must be a program on the PATH of the daemon",
  );
  expect(await ctrError(daemon, "containers", "exec", "--id", id, "--pid", "e", "nope")).toMatch(
    /not found.*; the command is looked up in the container/,
  );
});

test("help for a command is where it is looked for", async () => {
  await using daemon = await startDaemon();
  for (const words of [
    ["help", "containers"],
    ["containers", "help"],
    ["containers", "help", "start"],
    ["checkpoints", "help"],
  ])
    expect(await ctr(daemon, ...words), words.join(" ")).toMatch(words.length === 3 ? /ID BUNDLE/ : /Commands:/);
});

test("the daemon's address comes from CONTAINERD_ADDRESS, and -a has the last word", async () => {
  await using daemon = await startDaemon();
  const run = (address: string, ...args: string[]) =>
    spawnSync(process.execPath, [ctrProgram, ...args], {
      encoding: "utf8",
      env: { ...ctrEnvironment(daemon), CONTAINERD_ADDRESS: address },
    });
  expect(run(daemon.listen, "version").stdout).toContain("daemon version");
  expect(run(daemon.listen.replace("unix://", ""), "version").stdout).toContain("daemon version");
  expect(run("unix:///nowhere", "-a", daemon.listen, "version").stdout).toContain("daemon version");
  expect(run("unix:///nowhere", "version").stderr).toContain("cannot reach containerd at unix:///nowhere");
  // Empty is as good as not there.
  expect(run("", "--help").stdout).toContain("unix:///run/containerd/containerd.sock");
  expect(run("", "--conn-timeout", "1s", "--address", "", "completion", "csh").stderr).toContain("csh");
});

test("lists and events as JSON, one object a line, or as names only", async () => {
  await using daemon = await startDaemon();
  const bundle = daemon.bundle("x", { args: ["sleep", "1000"] });
  const ids = [daemon.id("a"), daemon.id("b")];
  for (const id of ids) await ctr(daemon, "containers", "start", "--label", "x=1", id, bundle);
  const lines = (text: string) => text.trimEnd().split("\n");
  for (const words of [["list", "--json"], ["ls", "--json"], ["--json"], ["--json", "list"]]) {
    const containers = lines(await ctr(daemon, "containers", ...words)).map((line) => JSON.parse(line));
    expect(containers, words.join(" ")).toMatchObject(
      ids.map((id) => ({ id, bundlePath: bundle, status: "running", labels: ["x=1"], processes: [{ pid: "init" }] })),
    );
  }
  for (const words of [["list", "-q"], ["--quiet"], ["list", "--quiet", ids[0]!], [ids[1]!, "-q"]]) {
    const names = words.includes(ids[0]!) ? [ids[0]] : words.includes(ids[1]!) ? [ids[1]] : ids;
    expect(lines(await ctr(daemon, "containers", ...words)), words.join(" ")).toEqual(names);
  }
  expect(await ctrError(daemon, "containers", "list", "--json", "-q")).toBe("--json and --quiet do not go together");
  mkdirSync(join(bundle, "checkpoints/saved"), { recursive: true });
  const saved = { name: "saved", exit: false, tcp: true, unixSockets: false, shell: false, emptyNS: [] };
  writeFileSync(join(bundle, "checkpoints/saved/config.json"), JSON.stringify(saved));
  expect(JSON.parse(await ctr(daemon, "checkpoints", "list", "--json", ids[0]!))).toMatchObject({
    name: "saved",
    tcp: true,
    shell: false,
  });
  expect(await ctr(daemon, "checkpoints", "--quiet", ids[0]!)).toBe("saved\n");
  const [json, quiet] = [startCtr(daemon, "events", "--json"), startCtr(daemon, "events", "--quiet")];
  for (const id of ids) await ctr(daemon, "containers", "kill", "--signal", "KILL", id);
  for (const running of [json, quiet]) {
    await eventually(() => lines(running.output()).length === 4);
    running.child.kill("SIGTERM");
  }
  expect(lines(String((await json.result).stdout)).map((line) => JSON.parse(line))).toEqual([
    ...ids.map((id) => ({ timestamp: expect.any(String), type: "start-container", id, pid: "", status: 0 })),
    ...[...new Set(lines(String((await quiet.result).stdout)).slice(2))].map((id) => ({
      ...{ timestamp: expect.any(String), type: "exit", id, pid: "init", status: 137 },
    })),
  ]);
});

test("sizes with units", async () => {
  await using daemon = await startDaemon();
  const id = daemon.id("a");
  await ctr(daemon, "containers", "start", id, daemon.bundle("a", { args: ["sleep", "1000"] }));
  const limit = async () =>
    JSON.parse(await ctr(daemon, "containers", "stats", id)).cgroup_stats.memory_stats.usage.limit;
  for (const [text, bytes] of [
    ["64m", 64 << 20],
    ["96MiB", 96 << 20],
    ["0.125g", 128 << 20],
    ["131072k", 128 << 20],
    ["134217728", 128 << 20],
  ] as const) {
    await ctr(daemon, "containers", "update", "--memory-limit", text, id);
    expect(await limit(), text).toBe(bytes);
  }
  for (const text of ["64x", "m", "-64m", "64 m", "1e3m"]) {
    const error = await ctrError(daemon, "containers", "update", `--memory-limit=${text}`, id);
    expect(error).toBe(`invalid number "${text}" for --memory-limit`);
  }
});

test("bad bundles and ids leave nothing", async () => {
  await using daemon = await startDaemon();
  const bundle = daemon.bundle("x", { args: ["true"] });
  for (const attach of [[], ["--attach"]]) {
    const start = (...words: string[]) => ctrError(daemon, "containers", "start", ...attach, ...words);
    expect(await start("x", "/no/bundle")).toContain("open /no/bundle/config.json: no such file or directory; bundle");
    expect(await start("x", `${bundle}/config.json`)).toContain("not a directory");
    expect(await start("../x", bundle)).toContain("../x");
    expect(await start("--runtime", "no-such-runtime", daemon.id("x"), bundle)).toContain(
      "shim error: no-such-runtime not installed on system; runtime must be a program",
    );
  }
  await daemon.expectNothingLeft();
});
