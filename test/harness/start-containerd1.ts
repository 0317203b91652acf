/**
 * A daemon that speaks containerd 1.x's API: ours, or Debian's containerd 1.6 when CONTAINERD_TS_TEST_CONTAINERD is "debian". What a test
 * expects of the API has to hold for both; where ours differs on purpose, the test says why.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type DaemonOptions, daemonEnvironment, startDaemon, started, TestDaemon } from "./daemon.js";
import { unpackedProgram } from "./paths.js";

/** Whether the tests of this run are of Debian's containerd. */
export const isDebians = process.env.CONTAINERD_TS_TEST_CONTAINERD === "debian";

/** The code of a call that a process's state does not allow: containerd 1.6 has none for it, ours says what it is. */
export const WRONG_STATE = isDebians ? "UNKNOWN" : "FAILED_PRECONDITION";

/** Plug-ins that nothing here needs, and that look at the machine or take time at the start. */
const UNNEEDED = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
];

/**
 * Debian's containerd with directories and a socket of its own. Its shims and its runtime use /run/containerd whatever it is told, so it
 * has a /run of its own, too; a `wrapper` has to bring one.
 */
class DebianContainerd extends TestDaemon {
  override get command(): string[] {
    const program = unpackedProgram("containerd");
    if (program === undefined) throw new Error("Debian's containerd is not unpacked: run scripts/setup --tests");
    const config = join(this.dir, "containerd.toml");
    // Its next one finds the shims by it.
    const run = join(this.dir, "private-run");
    mkdirSync(run, { recursive: true });
    writeFileSync(config, `version = 2\ndisabled_plugins = ${JSON.stringify(UNNEEDED)}\n`);
    const ownRun = 'mount --bind "$1" /run && shift && exec "$@"';
    const { wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", ownRun, "sh", run] } =
      this.options;
    return [
      // Its shim has to be on its PATH.
      ...[...wrapper, "env", `PATH=${dirname(program)}:${daemonEnvironment().PATH}`],
      ...[program, "--config", config, "--root", this.root, "--state", this.runDir],
      ...["--address", this.listen.slice("unix://".length)],
      ...(this.options.flags ?? []),
    ];
  }

  protected override async answers(): Promise<void> {
    await this.v1().version.version();
  }
}

/** A daemon that does not run yet. */
export function makeContainerd1(options: DaemonOptions, debians = isDebians): TestDaemon {
  return debians ? new DebianContainerd(options) : new TestDaemon(options);
}

/** Starts a daemon; `await using` ends it with everything that it has started. */
export async function startContainerd1(options: DaemonOptions = {}, debians = isDebians): Promise<TestDaemon> {
  return debians ? await started(new DebianContainerd(options)) : await startDaemon(options);
}
