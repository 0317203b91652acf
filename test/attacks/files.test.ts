/**
 * Files that the daemon reads and others have made: what is no file, never ends, or never comes, costs its caller an error and nobody else
 * anything.
 */
import { execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { libc } from "../../src/system/linux/libc.js";
import { status } from "../harness/api.js";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { full } from "../harness/extent.js";
import { openDescriptors } from "../harness/processes.js";
import { mountSilence } from "../harness/silence.js";
import { eventually } from "../harness/wait.js";

let daemon: TestDaemon;
let container: TestContainer;
/** Who is told to give up a lease gets SIGIO, which would end this process. */
const keepsTheLease = () => {};
beforeAll(async () => {
  process.on("SIGIO", keepsTheLease);
  daemon = await startDaemon();
  container = await startContainer(daemon, { name: "bystander", args: ["sleep", "1000"] });
});
afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
  process.off("SIGIO", keepsTheLease);
});

const F_SETLEASE = 1024;
const F_WRLCK = 1;
const F_UNLCK = 2;
const fcntl = libc.func("int fcntl(int fd, int command, long argument)");

/** Puts something in a file's place; what it answers undoes what would not go with the directory. */
type Planting = (path: string) => (() => void) | undefined | Promise<() => void>;

const endless = (path: string, target: string) => {
  symlinkSync(target, path);
  return undefined;
};

/** [what, how it gets there, the words of the error] */
const plantings: [string, Planting, RegExp][] = [
  ["a FIFO", (path) => void execFileSync("mkfifo", [path]), /not a regular file/],
  ["a link to /dev/zero", (path) => endless(path, "/dev/zero"), /not a regular file/],
  ["a device of its own", (path) => void execFileSync("mknod", [path, "c", "1", "5"]), /not a regular file/],
  ["a terminal", (path) => endless(path, "/dev/ptmx"), /not a regular file/],
  ["a directory", (path) => void mkdirSync(path), /is a directory/],
  ["a link to itself", (path) => endless(path, path), /too many levels of symbolic links/],
  [
    "a socket",
    (path) =>
      new Promise((resolve) => {
        const server = createServer().listen(path, () => resolve(() => server.close()));
      }),
    /not a regular file/,
  ],
  [
    "a file of a terabyte",
    (path) => {
      writeFileSync(path, "");
      truncateSync(path, 2 ** 40);
    },
    /larger than \d+ bytes/,
  ],
  [
    "a file that grows while it is read",
    (path) => {
      writeFileSync(path, " ".repeat(1024 * 1023));
      const writer = spawn("sh", [
        "-c",
        `while :; do cat /proc/self/maps /proc/self/maps /bin/busybox; done >>${path}`,
      ]);
      return () => void writer.kill("SIGKILL");
    },
    // What was there when it was looked at may be no JSON, or too much.
    /larger than \d+ bytes|config\.json:\d+:\d+/,
  ],
  ["the kernel's log, which never ends", (path) => endless(path, "/proc/kmsg"), /resource temporarily unavailable|:1:/],
];

/** Of these the daemon waits for the end of its patience, as of the file systems below. */
const slowPlantings: typeof plantings = [
  [
    "a file that somebody has a lease on, and does not give it up",
    (path) => {
      writeFileSync(path, "{}");
      const fd = openSync(path, "r+");
      expect(fcntl(fd, F_SETLEASE, F_WRLCK)).toBe(0);
      return () => {
        fcntl(fd, F_SETLEASE, F_UNLCK);
        closeSync(fd);
      };
    },
    /no answer from its file system within 10000 ms/,
  ],
];

/** In kB. */
function memory(): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${daemon.pid}/status`, "utf8"))?.[1]);
}

let others = 0;

/** Someone else's work while something goes on. */
async function othersAreServed(): Promise<void> {
  const name = `other${others++}`;
  await using other = await startContainer(daemon, { name, args: ["sh", "-c", "exit 7"] });
  expect(await other.exit()).toBe(7);
  expect((await daemon.api.state({ id: container.id })).containers[0]?.status).toBe("running");
}

function isToldOf(what: string, plant: Planting, words: RegExp): void {
  const name = what.replaceAll(/[^a-z]+/g, "-");

  test("in place of a bundle's config.json", async () => {
    const bundlePath = join(daemon.dir, "bundles", name);
    mkdirSync(bundlePath, { recursive: true });
    const path = join(bundlePath, "config.json");
    const undo = await plant(path);
    try {
      const before = memory();
      const [failure] = await Promise.all([
        daemon.api.createContainer({ id: daemon.id("broken"), bundlePath }).catch((error) => error),
        othersAreServed(),
      ]);
      expect(failure.details).toMatch(words);
      expect(failure.details).toContain(path);
      // 16 MiB of file at most, as bytes, as text, and once more.
      expect(memory() - before).toBeLessThan(150_000);
    } finally {
      undo?.();
    }
  });

  test("in place of a checkpoint's config.json", async () => {
    const checkpointDir = join(daemon.dir, "checkpoints", name);
    for (const each of ["a-good", "c-good"]) {
      mkdirSync(join(checkpointDir, each), { recursive: true });
      writeFileSync(join(checkpointDir, each, "config.json"), JSON.stringify({ name: each, tcp: true }));
    }
    mkdirSync(join(checkpointDir, "b-bad"));
    const undo = await plant(join(checkpointDir, "b-bad/config.json"));
    try {
      const { id } = container;
      const [list, failure] = await Promise.all([
        daemon.api.listCheckpoint({ id, checkpointDir }),
        daemon.api
          .createContainer({
            id: daemon.id("restored"),
            bundlePath: container.bundle,
            checkpoint: "b-bad",
            checkpointDir,
          })
          .catch((error) => error),
        othersAreServed(),
      ]);
      expect(list.checkpoints.map((each) => each.name).filter((each) => each !== "b-bad")).toEqual([
        "a-good",
        "c-good",
      ]);
      expect(failure.details).toMatch(/./);
      expect(failure.details).not.toContain("[object");
      await daemon.api.deleteCheckpoint({ id, name: "b-bad", checkpointDir });
      expect((await daemon.api.listCheckpoint({ id, checkpointDir })).checkpoints).toHaveLength(2);
    } finally {
      undo?.();
    }
  });
}

describe.each(plantings)("%s", isToldOf);
// Side by side with the next one.
describe.concurrent.each(full ? slowPlantings : [])("%s", isToldOf);

test.skipIf(!full)(
  "a runtime on a file system that never answers holds up who has named it, and nobody else",
  { concurrent: true },
  async () => {
    const directory = join(daemon.dir, "silent-runtime");
    const end = mountSilence(directory);
    try {
      const bundlePath = daemon.bundle("silent-runtime", { args: ["true"] });
      let over = false;
      const calls = [1, 2, 3].map((n) =>
        daemon.api
          .createContainer({ id: daemon.id(`silent-runtime${n}`), bundlePath, runtime: join(directory, "runc") })
          .catch((error: Error) => error),
      );
      const failures = Promise.all(calls).finally(() => {
        over = true;
      });
      await othersAreServed();
      expect(over).toBe(false);
      for (const failure of await failures) {
        expect(failure).toMatchObject({ code: status.DEADLINE_EXCEEDED });
        expect(String(failure)).toContain(`${directory}/runc`);
      }
      await othersAreServed();
    } finally {
      end();
    }
  },
);

test.each(["null", "5", '"text"', "[]", '{"exit":"yes","emptyNS":5}', '{"emptyNS":[5,null]}', "", "\0".repeat(99)])(
  "a checkpoint whose config.json is %j does not break the list",
  async (content) => {
    const checkpointDir = join(daemon.dir, "odd");
    for (const [name, text] of [
      ["good", '{"name":"good","emptyNS":["network"]}'],
      ["odd", content],
    ] as const) {
      mkdirSync(join(checkpointDir, name), { recursive: true });
      writeFileSync(join(checkpointDir, name, "config.json"), text);
    }
    const { checkpoints } = await daemon.api.listCheckpoint({ id: container.id, checkpointDir });
    expect(checkpoints.find(({ name }) => name === "good")).toMatchObject({ emptyNS: ["network"] });
  },
);

test("file systems that never answer hold up who asked for them, for 10 s, and nobody else; then all is well again", async () => {
  // The bystander's.
  const usual = { things: daemon.leftovers(), descriptors: openDescriptors(daemon.pid).size };
  const ends = Array.from({ length: 4 }, (_, n) => mountSilence(join(daemon.dir, `silent${n}`)));
  try {
    const { id } = container;
    const asked: (() => Promise<unknown>)[] = [0, 1, 2, 3].flatMap((n) => {
      const directory = join(daemon.dir, `silent${n}`);
      return [
        // The same ones over and over, as somebody who tries again would.
        ...Array.from(
          { length: 10 },
          (_, again) => () =>
            daemon.api.createContainer({ id: daemon.id(`silent-${n}-${again}`), bundlePath: join(directory, "b") }),
        ),
      ];
    });
    const silent = join(daemon.dir, "silent0");
    asked.push(
      () => daemon.api.listCheckpoint({ id, checkpointDir: silent }),
      () => daemon.api.createCheckpoint({ id, checkpoint: { name: "c" }, checkpointDir: join(silent, "new") }),
      () => daemon.api.deleteCheckpoint({ id, name: "c", checkpointDir: silent }),
    );
    let over = false;
    const failures = Promise.all(
      asked.map((ask) => ask().catch((error: Error & { details: string }) => error)),
    ).finally(() => {
      over = true;
    });
    for (let n = 0; !over && n < 3; n++) await othersAreServed();
    expect(over).toBe(false);
    for (const failure of await failures) {
      expect(failure).toMatchObject({ code: status.DEADLINE_EXCEEDED });
      expect(String(failure)).toContain(`${daemon.dir}/silent`);
    }
    await othersAreServed();
    for (const end of ends.splice(0)) end();
    await eventually(() => {
      expect(daemon.leftovers()).toEqual(usual.things);
      expect(openDescriptors(daemon.pid).size).toBeLessThanOrEqual(usual.descriptors);
      return true;
    });
  } finally {
    for (const end of ends) end();
  }
});

test("a stop ends while a read hangs, and a caller that leaves is let go at once", async () => {
  await using stopping = await startDaemon();
  const end = mountSilence(join(stopping.dir, "silent"));
  try {
    const bundlePath = join(stopping.dir, "silent", "b");
    const left = new AbortController();
    const calls = [1, 2, 3].map((n) =>
      stopping.api.createContainer({ id: stopping.id(`c${n}`), bundlePath }, { signal: left.signal }),
    );
    for (const call of calls) call.catch(() => {});
    await eventually(async () => stopping.leftovers().some((line) => line.includes("in the state directory")));
    left.abort();
    await expect(calls[0]).rejects.toMatchObject({ code: status.CANCELLED });
    await eventually(() => stopping.leftovers().every((line) => line.startsWith("mount: ")));
    expect(await stopping.stop()).toEqual({ code: 0, signal: null });
  } finally {
    end();
  }
});

test("a bundle on a file system that stops answering while its container runs: the exit is told, the daemon goes on", async () => {
  const bundle = daemon.bundle("vanishing", { args: ["sh", "-c", "read line; exit 5"] });
  await using running = await startContainer(daemon, {
    name: "vanishing",
    args: ["sh", "-c", "read line; exit 5"],
    stdio: true,
  });
  const end = mountSilence(dirname(join(bundle, "config.json")));
  try {
    await running.kill();
    expect(await running.exit()).toBe(137);
    await othersAreServed();
  } finally {
    end();
    rmSync(bundle, { recursive: true, force: true });
  }
});

test.each([
  ["a FIFO", "mkfifo $log", /log\.json: not a regular file/],
  ["a link to /dev/zero", "ln -s /dev/zero $log", /log\.json: not a regular file/],
  ["a terabyte", "truncate -s 1T $log", /log\.json: larger than \d+ bytes/],
  ["an error that is no text", `echo '{"level":"error","msg":{"a":1}}' >$log`, /container not started/],
])("a runtime that leaves %s as its log", async (what, leave, words) => {
  const name = `log-${what.replaceAll(/\W+/g, "-")}`;
  const runtime = join(daemon.dir, name);
  writeFileSync(
    runtime,
    `#!/bin/sh\nwhile [ $# -gt 0 ]; do [ "$1" = --log ] && log=$2; shift; done\n[ -n "$log" ] && rm -f $log && ${leave}\nexit 1\n`,
    { mode: 0o755 },
  );
  const bundlePath = daemon.bundle(name, { args: ["true"] });
  const before = memory();
  const [failure] = await Promise.all([
    daemon.api.createContainer({ id: daemon.id(name), bundlePath, runtime }).catch((error) => error),
    othersAreServed(),
  ]);
  expect(failure.details).toMatch(words);
  expect(memory() - before).toBeLessThan(150_000);
});
