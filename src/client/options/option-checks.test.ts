import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { type Client, connect, createBundle, createStdio, Remote, v0 } from "../index.js";

/** What must stay empty: bundles and FIFOs would be made here. */
const dir = mkdtempSync(join(tmpdir(), "options-test-"));
vi.stubEnv("TMPDIR", dir);
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

/** Nothing listens here: what is wrong with the options is told before anybody is asked. */
const client = connect("unix:///nowhere/s");
const task = client.v0.containers.reference("c");
const STARTED = { rootfs: "/rootfs", args: ["sh"] };
/** As JavaScript has it, where nobody checks types. */
// biome-ignore lint/suspicious/noExplicitAny: any is what is tested
const anything = (value: unknown) => value as any;

const runWith = (options: object) => client.v0.run(anything({ ...STARTED, ...options }));
const startWith = (options: object) => client.v0.containers.start(anything({ ...STARTED, ...options }));
const execWith = (options: object) => task.exec(["sh"], anything(options));

/** A number that is too small or too large is a RangeError, as everywhere in JavaScript; all else is a TypeError. */
test.each<[string, () => unknown, string, typeof RangeError?]>([
  [
    "a wrong user",
    () => runWith({ user: { id: 5 } }),
    "unknown option user.id (5), allowed are uid, gid, additionalGids",
  ],
  ["a user's type", () => runWith({ user: true }), 'user must be a name, "name:group"'],
  ["a user's form", () => runWith({ user: "a:b:c" }), '{ uid, gid, additionalGids }, not "a:b:c"'],
  [
    "a user's number",
    () => runWith({ user: -1 }),
    "user must be a user or group id (0 – 4294967294), not -1",
    RangeError,
  ],
  [
    "a user's groups",
    () => runWith({ user: { additionalGids: [1, "2"] } }),
    "user.additionalGids[1] must be a user or",
  ],
  [
    "a limit's name",
    () => runWith({ limits: { mem: 1 } }),
    "unknown option limits.mem (1), allowed are memory, cpu, pids",
  ],
  [
    "a limit's type",
    () => runWith({ limits: { memory: "64m" } }),
    'limits.memory must be a positive whole number, not "64m"',
  ],
  [
    "a mount's option",
    () => runWith({ mounts: [{ source: "/a", destination: "/b", readonly: true }] }),
    "unknown option mounts[0].readonly (true), allowed are type, source, destination, readOnly",
  ],
  [
    "a mount's type",
    () => runWith({ mounts: [{ type: "overlay", source: "/a", destination: "/b" }] }),
    'mounts[0].type must be "bind" or "tmpfs", not "overlay"',
  ],
  ["a mount without a source", () => runWith({ mounts: [{ destination: "/b" }] }), "mounts[0].source must be a path"],
  [
    "a bind mount's size",
    () => runWith({ mounts: [{ source: "/a", destination: "/b", size: 5 }] }),
    "unknown option mounts[0].size (5)",
  ],
  ["mounts that are no list", () => runWith({ mounts: { "/a": "/b" } }), "mounts must be a list, not { '/a': '/b' }"],
  ["an option's name", () => runWith({ readonly: true }), "unknown option readonly (true), allowed are"],
  ["a flag", () => runWith({ readOnly: "no" }), 'readOnly must be true or false, not "no"'],
  ["null is not undefined", () => runWith({ cwd: null }), "cwd must be an absolute path, not null"],
  [
    "args",
    () => runWith({ args: "ls -l" }),
    'args must be a command and its arguments, as a list of texts, not "ls -l"',
  ],
  ["an argument", () => runWith({ args: ["kill", 9] }), "args[1] must be a text, not 9"],
  ["a NUL byte", () => runWith({ args: ["echo", "a\0b"] }), "args[1] must be a text without a NUL byte"],
  ["half a character", () => runWith({ args: ["echo", "\ud800"] }), "args[1] must be a text that is valid Unicode"],
  ["a variable", () => runWith({ env: { PORT: 80 } }), "env.PORT must be a text, not 80"],
  ["variables", () => runWith({ env: "A=1" }), 'env must be an object, or a list of "KEY=value", not "A=1"'],
  ["no rootfs", () => runWith({ rootfs: undefined }), "rootfs must be a path that is not empty, not undefined"],
  ["a network's option", () => runWith({ network: { name: "x" } }), "unknown option network.name"],
  ["an input", () => runWith({ input: 5 }), "input must be a text, bytes, or a stream of them, not 5"],
  ["an encoding", () => runWith({ encoding: "latin1" }), 'encoding must be "utf8" or "buffer", not "latin1"'],
  ["a run's stdio", () => runWith({ stdio: "pipe" }), "unknown option stdio"],
  ["a signal", () => runWith({ signal: "SIGTERM" }), 'signal must be an AbortSignal, not "SIGTERM"'],
  ["customize", () => runWith({ customize: {} }), "customize must be a function"],
  ["no options", () => client.v0.run(anything(undefined)), "options must be an object of"],
  ["run() without a client", () => v0.run(anything({ ...STARTED, adress: "/s" })), 'unknown option adress ("/s")'],
  [
    "stdio",
    () => startWith({ stdio: "inherit" }),
    'stdio must be "pipe" or "output" or "ignore" or "detached", not "inherit"',
  ],
  ["labels", () => startWith({ labels: { a: "b" } }), "labels must be a list"],
  ["an id", () => startWith({ id: 7 }), "id must be a name that is not empty, not 7"],
  [
    "an id that is cut in half",
    () => startWith({ id: "a\udc00" }),
    "id must be a name that is not empty that is valid Unicode",
  ],
  [
    "the builder's options beside a bundle",
    () => client.v0.containers.start(anything({ bundle: "/b", limits: {} })),
    "unknown option limits",
  ],
  [
    "an empty bundle",
    () => client.v0.containers.start({ bundle: "" }),
    'bundle must be a path that is not empty, not ""',
  ],
  ["createBundle", () => createBundle(anything({ ...STARTED, dir: "/tmp" })), 'unknown option dir ("/tmp")'],
  [
    "createStdio",
    async () => createStdio(anything({ tty: true })),
    "unknown option tty (true), allowed are dir, terminal, input, closeStdin",
  ],
  ["exec", () => execWith({ workdir: "/" }), 'unknown option workdir ("/")'],
  [
    "exec's name: half a character never comes back from the daemon",
    () => execWith({ name: "a\ud800" }),
    "name must be a name that is not empty that is valid Unicode",
  ],
  ["exec's args", () => task.exec([]), "args must be a command"],
  ["exec's user", () => execWith({ user: "" }), 'not ""'],
  [
    "resize",
    () => task.init.resize(anything({ columns: 80 }), 5),
    "columns must be a number of characters, 0 – 65535, not { columns: 80 }",
  ],
  ["resize without rows", () => task.init.resize(80, anything(undefined)), "rows must be a number of characters"],
  [
    "update",
    () => task.update(anything({ ram: 5 })),
    "unknown option limits.ram (5), allowed are memory, cpu, pids, blkioWeight",
  ],
  [
    "update's numbers",
    () => task.update({ memoryLimit: -5n }),
    "limits.memoryLimit must be a whole number, 0 or more, not -5n",
  ],
  [
    "update's lists",
    () => task.update(anything({ blkioWeightDevice: [{ weigth: 5 }] })),
    "unknown option limits.blkioWeightDevice[0].weigth",
  ],
  ["wait", () => task.wait(anything({ timout: 5 })), "unknown option timout (5), allowed are signal, timeout"],
  [
    "wait's timeout",
    () => task.wait({ timeout: -1 }),
    "timeout must be a number of milliseconds, 0 or more, or Infinity, not -1",
    RangeError,
  ],
  [
    "a call's options",
    () => task.pause(anything({ timeout: "5s" })),
    'timeout must be a number of milliseconds, 0 or more, or Infinity, not "5s"',
  ],
  ["options that are none", () => client.version(anything(5)), "options must be an object of signal, timeout, not 5"],
  ["checkpoint", () => task.checkpoint("a", anything({ leaveRunning: true })), "unknown option leaveRunning"],
  ["checkpoint's name", () => task.checkpoint(""), 'name must be a name that is not empty, not ""'],
  [
    "watchStats",
    async () => task.watchStats({ interval: 0 }),
    "interval must be a positive number of milliseconds, or Infinity, not 0",
    RangeError,
  ],
  [
    "close",
    () => task.init.close(Number.NaN),
    "timeout must be a number of milliseconds, 0 or more, or Infinity, not NaN",
    RangeError,
  ],
  [
    "events",
    async () => client.v0.events(anything({ since: "yesterday" })),
    'since must be a Date, milliseconds since 1970, or a timestamp { seconds: bigint, nanos: number }, not "yesterday"',
  ],
  [
    "connect",
    async () => connect("/s", anything({ patient: true })),
    "unknown option patient (true), allowed are connectTimeout, tls, patience",
  ],
  [
    "connect's address",
    async () => connect(anything({ address: "/s" })),
    "address must be a text, not { address: '/s' }",
  ],
  [
    "TLS",
    async () => connect("/s", { tls: anything({ ca: 5 }) }),
    "tls.ca must be a PEM text or a Buffer of one, not 5",
  ],
  [
    "a remote's option",
    () => Remote.start(anything({ stateDir: join(dir, "r"), runtimeargs: ["-v"] })),
    "unknown option runtimeargs ([ '-v' ]), allowed are stateDir, socket, program, shim, runtime, runtimeArgs,",
  ],
  [
    "a remote's directory",
    () => Remote.start(anything({})),
    "stateDir must be a path that is not empty, not undefined",
  ],
  [
    "a remote's program",
    () => Remote.start(anything({ stateDir: join(dir, "r"), program: "containerd" })),
    'program must be a command: a list of texts that is not empty, not "containerd"',
  ],
  [
    "a remote's timeout",
    () => Remote.start(anything({ stateDir: join(dir, "r"), startTimeout: "soon" })),
    'startTimeout must be a duration as the daemon\'s flag takes it, like "2m", not "soon"',
  ],
  [
    "a remote's score",
    () => Remote.start(anything({ stateDir: join(dir, "r"), oomScoreAdj: 2000 })),
    "oomScoreAdj must be a whole number from -1000 to 1000, not 2000",
    RangeError,
  ],
  [
    "a remote's callback",
    () => Remote.start(anything({ stateDir: join(dir, "r"), onChange: true })),
    "onChange must be a function, not true",
  ],
  [
    "a remote's output",
    () => Remote.start(anything({ stateDir: join(dir, "r"), output: "pipe" })),
    'output must be a descriptor, "inherit" or "ignore", not "pipe"',
  ],
  [
    "a request's field",
    () => client.v0.api.createContainer(anything({ id: "a", bundle: "/b" })),
    'unknown field bundle ("/b"), allowed are id, bundlePath, checkpoint,',
  ],
  [
    "a field of a message in a request",
    () => client.v0.api.updateContainer(anything({ id: "a", resources: { memory: 1 } })),
    "unknown field resources.memory (1), allowed are blkioWeight,",
  ],
  [
    "a field of a message in a list of a request",
    () => client.v0.api.addProcess(anything({ id: "a", rlimits: [{ type: "x" }, { kind: "RLIMIT_CPU" }] })),
    'unknown field rlimits[1].kind ("RLIMIT_CPU"), allowed are type, soft, hard',
  ],
  [
    "a signal's field",
    () => client.v0.api.signal(anything({ id: "a", sig: 9 })),
    "unknown field sig (9), allowed are id,",
  ],
  [
    "a subscription's field",
    () => client.v0.api.events(anything({ since: 0 })),
    "unknown field since (0), allowed are timestamp, storedOnly, id",
  ],
  ["a state's field", () => client.v0.api.state(anything({ ID: "a" })), 'unknown field ID ("a"), allowed are id'],
  ["a stats' field", () => client.v0.api.stats(anything({ name: "a" })), 'unknown field name ("a"), allowed are id'],
  [
    "a checkpoint's field",
    () => client.v0.api.listCheckpoint(anything({ id: "a", dir: "/c" })),
    'unknown field dir ("/c"), allowed are id, checkpointDir',
  ],
  [
    "a container's id",
    () => client.v0.containers.get(anything(undefined)),
    "id must be a name that is not empty, not undefined",
  ],
])("%s", async (_, call, message, kind = TypeError) => {
  const error = await Promise.resolve()
    .then(call)
    .then(
      () => undefined,
      (reason: Error) => reason,
    );
  expect(error?.message).toContain(message);
  expect(error).toBeInstanceOf(kind);
  expect(readdirSync(dir)).toEqual([]);
});

test("undefined is as not given, a getter of the value is not run for the message", async () => {
  let ran = false;
  const value = {
    get secret() {
      ran = true;
      return 1;
    },
  };
  await expect(runWith({ user: undefined, limits: undefined, hostname: value })).rejects.toThrow(
    "hostname must be a text",
  );
  expect(ran).toBe(false);
});

test("a shared RunOptions goes into run()", () => {
  // What is tested is that this compiles.
  const options: import("../index.js").v0.RunOptions = { rootfs: "/rootfs", args: ["true"] };
  const call = (client: Client) => client.v0.run(options).then(({ stdout }) => stdout.trim());
  const bytes: import("../index.js").v0.RunBufferOptions = { ...options, encoding: "buffer" };
  const callForBytes = (client: Client) => client.v0.run(bytes).then(({ stdout }) => stdout.readUInt8(0));
  expect([typeof call, typeof callForBytes]).toEqual(["function", "function"]);
});
