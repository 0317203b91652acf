import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { processes } from "../test/harness/processes.js";
import { eventually } from "../test/harness/wait.js";

const DAEMON = "/usr/bin/containerd";
const CTR = "/usr/bin/ctr";
/** How many containers its shims are measured with: what they share, they share by then. */
const CONTAINERS = 20;

/**
 * Runs containers under the machine's own containerd (Debian 12: 1.6) and hands the pids of their shims to `measure`.
 * @returns what that returns; undefined when there is no containerd on this machine
 */
export async function withContainerdShims<T>(rootfs: string, measure: (pids: number[]) => T): Promise<T | undefined> {
  if (!existsSync(DAEMON) || !existsSync(CTR)) return undefined;
  const directory = mkdtempSync(join(tmpdir(), "ctd-bench-containerd-"));
  const socket = join(directory, "s");
  const config = join(directory, "config.toml");
  writeFileSync(
    config,
    [
      "version = 2",
      `root = "${directory}/root"`,
      `state = "${directory}/state"`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      "[grpc]",
      `  address = "${socket}"`,
      "",
    ].join("\n"),
  );
  const call = (...args: string[]) => execFileSync(CTR, ["--address", socket, ...args], { stdio: "ignore" });
  const ids = Array.from({ length: CONTAINERS }, (_, n) => `ctd-bench-peer-${n}`);
  const child: ChildProcess = spawn(DAEMON, ["--config", config], { stdio: "ignore" });
  try {
    await eventually(() => existsSync(socket), { timeout: 10_000, what: "containerd's socket" });
    for (const id of ids) call("run", "--detach", "--rootfs", rootfs, id, "/bin/sleep", "100000");
    return measure(
      processes()
        .filter(({ command }) => command.includes("containerd-shim-runc-v2") && command.includes(socket))
        .map(({ pid }) => pid),
    );
  } finally {
    for (const id of ids) {
      for (const args of [
        ["task", "rm", "--force", id],
        ["containers", "rm", id],
      ]) {
        try {
          call(...args);
        } catch {
          // It was never started.
        }
      }
    }
    child.kill();
    await eventually(() => child.exitCode !== null || child.signalCode !== null);
    rmSync(directory, { recursive: true });
  }
}
