/** What is mounted below a bind, on the host or in the container, as both sides see it. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { bindOf, importImage, NO_STDIO, newId, requestFor, texts } from "../harness/engine.js";
import { full } from "../harness/extent.js";
import { refusal } from "../harness/v1.js";

const fixture = useContainerd1();
let daemon: TestDaemon;
/** A mount of its own, which is shared. */
let source: string;

const mount = (...args: string[]) => execFileSync("mount", args);

beforeAll(async () => {
  if (!full) return;
  daemon = fixture.daemon;
  await importImage(daemon);
  source = join(daemon.dir, "shared");
  mkdirSync(source);
  mount("-t", "tmpfs", "source", source);
  mount("--make-shared", source);
  for (const name of ["before", "host", "container"]) mkdirSync(join(source, name));
  mount("-t", "tmpfs", "before", join(source, "before"));
});
afterAll(() => {
  if (source !== undefined) execFileSync("umount", ["--recursive", source]);
});

/** Where file systems are mounted below a directory, in the mount namespace of a process. */
const mounted = (pid: number | "self", directory: string) =>
  readFileSync(`/proc/${pid}/mountinfo`, "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path) => path.startsWith(`${directory}/`))
    .map((path) => path.slice(directory.length + 1))
    .toSorted();

/** What a container sees that is mounted on the host later, and the host of what is mounted in the container. */
const WAYS = [
  { propagation: "", inContainer: ["before", "container"], onHost: ["before", "host"] },
  { propagation: "rprivate", inContainer: ["before", "container"], onHost: ["before", "host"] },
  { propagation: "rslave", inContainer: ["before", "container", "host"], onHost: ["before", "host"] },
  { propagation: "rshared", inContainer: ["before", "container", "host"], onHost: ["before", "container", "host"] },
];

test.skipIf(!full).each(WAYS)("with propagation $propagation", async ({ propagation, inContainer, onHost }) => {
  const { engine } = daemon.v1();
  const id = newId(daemon);
  const config = {
    args: texts("sleep", "1000"),
    privileged: true,
    mounts: [bindOf(source, "/data", { propagation })],
  };
  const { pid } = await engine.run({ create: requestFor({ id, config }), stdio: NO_STDIO });
  try {
    mount("-t", "tmpfs", "host", join(source, "host"));
    await engine.exec({ id, execId: "m", args: ["mount", "-t", "tmpfs", "c", "/data/container"], stdio: NO_STDIO });
    expect((await engine.wait({ id, execId: "m" })).status).toBe(0);
    expect(mounted(pid, "/data")).toEqual(inContainer);
    expect(mounted("self", source)).toEqual(onHost);
  } finally {
    await engine.remove({ id, force: true });
    for (const name of ["host", "container"])
      if (mounted("self", source).includes(name)) execFileSync("umount", [join(source, name)]);
  }
  expect(mounted("self", source)).toEqual(["before"]);
});

test.skipIf(!full)("without recursive only the mount itself is there; shared needs a source that is", async () => {
  const { engine } = daemon.v1();
  const id = newId(daemon);
  const at = (more: object) => ({
    args: texts("sleep", "1000"),
    mounts: [bindOf(source, "/data", more)],
  });
  const { pid } = await engine.run({ create: requestFor({ id, config: at({ recursive: false }) }), stdio: NO_STDIO });
  expect(mounted(pid, "/data")).toEqual([]);
  await engine.remove({ id, force: true });
  mount("--make-private", source);
  const wanted = requestFor({ id, config: at({ propagation: "rshared" }) });
  expect(await refusal(engine.create(wanted))).toMatch(/INVALID_ARGUMENT: .*propagation.*shared/);
});
