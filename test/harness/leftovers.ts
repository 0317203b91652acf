/** What a daemon and its containers leave behind: it has to be nothing. */
import { spawnSync } from "node:child_process";
import { type Dirent, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { kill, openDescriptors, type ProcessInfo, processes } from "./processes.js";
import { eventually, PATIENCE, sleep } from "./wait.js";

/** What to look for. */
export interface Territory {
  /**
   * The private directory of a test: bundles, FIFOs and, unless it is elsewhere, the state directory. The ids of the test's containers
   * begin with its name.
   */
  dir: string;
  stateDir: string;
  /** Where tasks of namespaces are: `run` in the private directory, unless it is elsewhere. */
  runDir?: string;
  /** The daemon, while it runs. */
  pid?: number | undefined;
}

export interface Leftovers {
  /** Containers that a runtime lists: "<runtime root>/<id>". */
  runtime: string[];
  cgroups: string[];
  processes: ProcessInfo[];
  /** Entries of the state directory, events.log excepted; "NAMESPACE/ID" of tasks of namespaces. */
  state: string[];
  /** Mount points below the directory. */
  mounts: string[];
}

/** Where the runtimes keep a directory for each container, and the file in it that names the bundle. */
const runtimeRoots = [
  { root: "/run/runc", record: "state.json" },
  { root: "/run/crun", record: "status" },
];

function list(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch {
    return [];
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

const isOwnId = (dir: string, name: string) => name.startsWith(`${basename(dir)}-`);

function runtimeContainers({ dir, runDir = join(dir, "run") }: Territory): string[] {
  const ofNoNamespace = runtimeRoots.flatMap(({ root, record }) =>
    list(root)
      .filter(({ name }) => isOwnId(dir, name) || read(join(root, name, record)).includes(`${dir}/`))
      .map(({ name }) => join(root, name)),
  );
  return [...ofNoNamespace, ...inNamespaces(join(runDir, "runc")).map((name) => join(runDir, "runc", name))];
}

/** "NAMESPACE/ID" of all that is in a directory with one for each namespace. */
function inNamespaces(directory: string): string[] {
  return list(directory).flatMap((namespace) =>
    list(join(directory, namespace.name)).map(({ name }) => join(namespace.name, name)),
  );
}

/** Where our daemon, and Debian's containerd, have the tasks of namespaces, below the run directory. */
const taskDirectories = ["tasks", "io.containerd.runtime.v2.task"];

function cgroupDirectories({ dir }: Territory): string[] {
  const found: string[] = [];
  const walk = (directory: string, own: boolean) => {
    for (const entry of list(directory)) {
      if (!entry.isDirectory()) continue;
      const path = join(directory, entry.name);
      // What is below an own one has names that others chose.
      const isOwn = own || isOwnId(dir, entry.name);
      if (isOwn) found.push(path);
      walk(path, isOwn);
    }
  };
  walk("/sys/fs/cgroup", false);
  return found;
}

/** What forks the daemon's shims: it is there for as long as the daemon is. */
export const spawnerCommand = "containerd-shim --spawner";

/**
 * Processes that belong to the territory, the daemon itself and its spawner excepted: their children (zombies too), shims, runtimes,
 * containers.
 */
function ownProcesses({ dir, pid }: Territory): ProcessInfo[] {
  const all = processes();
  const own = new Set(
    all
      .filter(
        (process) =>
          process.parent === pid ||
          process.directory.startsWith(`${dir}/`) ||
          process.command.includes(`${dir}/`) ||
          process.cgroups.some((path) => path.split("/").some((name) => isOwnId(dir, name))),
      )
      .map((process) => process.pid),
  );
  // What they started: a shim's zombies have neither a directory nor arguments.
  for (let before = -1; before !== own.size; ) {
    before = own.size;
    for (const process of all) if (own.has(process.parent)) own.add(process.pid);
  }
  const isDaemon = (info: ProcessInfo) => info.pid === pid || (info.parent === pid && info.command === spawnerCommand);
  return all.filter((info) => own.has(info.pid) && !isDaemon(info) && info.pid !== process.pid);
}

function mountsBelow({ dir }: Territory): string[] {
  return read("/proc/self/mountinfo")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path) => path.startsWith(`${dir}/`));
}

/** Everything that is left at this moment. */
export function findLeftovers(territory: Territory): Leftovers {
  const { stateDir, runDir = join(territory.dir, "run") } = territory;
  return {
    runtime: runtimeContainers(territory),
    cgroups: cgroupDirectories(territory),
    processes: ownProcesses(territory),
    state: [
      ...list(stateDir)
        .map(({ name }) => name)
        .filter((name) => name !== "events.log"),
      ...taskDirectories.flatMap((name) => inNamespaces(join(runDir, name))),
    ],
    mounts: mountsBelow(territory),
  };
}

/** One line for each thing that is left. */
export function describe(left: Leftovers): string[] {
  return [
    ...left.runtime.map((path) => `container of the runtime: ${path}`),
    ...left.cgroups.map((path) => `cgroup: ${path}`),
    ...left.processes.map(
      ({ pid, parent, state, command, cgroups }) =>
        `process ${pid} (${state}, child of ${parent}): ${command} [${cgroups[0] ?? ""}]`,
    ),
    ...left.state.map((name) => `in the state directory: ${name}`),
    ...left.mounts.map((path) => `mount: ${path}`),
  ];
}

/** The daemon's descriptors, to compare with {@link expectNothingLeft}. */
export interface Snapshot {
  descriptors: Map<number, string>;
}

/** Without the copies of runtimes, four at most, which the daemon makes when it first needs them and keeps. */
function heldDescriptors(pid: number): Map<number, string> {
  return new Map([...openDescriptors(pid)].filter(([, target]) => !target.startsWith("/memfd:runtime ")));
}

export function snapshot(territory: Territory & { pid: number }): Snapshot {
  return { descriptors: heldDescriptors(territory.pid) };
}

/**
 * Fails, with a list, when something of the territory's containers is still there after `timeout` ms, or when the daemon has more
 * descriptors than at the time of `before`.
 */
export async function expectNothingLeft(
  territory: Territory,
  { before, timeout = PATIENCE }: { before?: Snapshot; timeout?: number } = {},
): Promise<void> {
  await eventually(
    () => {
      const lines = describe(findLeftovers(territory));
      if (before && territory.pid !== undefined) lines.push(...moreDescriptors(territory.pid, before));
      if (lines.length > 0) throw new Error(`left behind:\n  ${lines.join("\n  ")}`);
      return true;
    },
    { timeout, interval: 50 },
  );
}

/** Fails, with a list, when the daemon still has more descriptors than at the time of `before` after a while. */
export async function expectNoMoreDescriptors(pid: number, before: Snapshot): Promise<void> {
  await eventually(() => {
    const lines = moreDescriptors(pid, before);
    if (lines.length > 0) throw new Error(lines.join("\n"));
    return true;
  });
}

function moreDescriptors(pid: number, before: Snapshot): string[] {
  const now = heldDescriptors(pid);
  if (now.size <= before.descriptors.size) return [];
  const fresh = [...now].filter(([fd, target]) => before.descriptors.get(fd) !== target);
  const shown = fresh.map(([fd, target]) => `${fd} → ${target}`).join(", ");
  return [`the daemon has ${now.size} descriptors instead of ${before.descriptors.size}; new: ${shown}`];
}

/** Deletes a container with the runtime it belongs to, or at least the runtime's record of it. */
function deleteContainer(path: string): void {
  const root = dirname(path);
  const own = runtimeRoots.find((known) => known.root === root);
  const [runtime, args] = own ? [basename(root), []] : ["runc", ["--root", root]];
  const { status } = spawnSync(runtime, [...args, "delete", "--force", basename(path)], { stdio: "ignore" });
  if (status !== 0) rmSync(path, { recursive: true, force: true });
}

/**
 * Ends and removes everything that {@link findLeftovers} sees outside the directory itself. For the end of a test, also of one that
 * failed.
 */
export async function removeLeftovers(territory: Territory): Promise<void> {
  const lines = () => describe({ ...findLeftovers(territory), state: [] });
  const end = performance.now() + 10_000;
  while (lines().length > 0) {
    const left = findLeftovers(territory);
    for (const { pid, state } of left.processes) if (state !== "Z") kill(pid);
    for (const path of left.runtime) deleteContainer(path);
    for (const path of left.mounts.reverse()) spawnSync("umount", ["--lazy", path], { stdio: "ignore" });
    for (const path of left.cgroups.sort((a, b) => b.length - a.length)) {
      try {
        rmdirSync(path);
      } catch {
        // Its processes are just ending: the next round.
      }
    }
    if (performance.now() > end) {
      const rest = lines();
      if (rest.length > 0) throw new Error(`cannot be removed:\n  ${rest.join("\n  ")}`);
    }
    await sleep(20);
  }
}
