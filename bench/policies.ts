/** What it takes to look whether containers work, beside the runtime alone, and to follow logs that nobody writes. */
import { readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connect } from "../src/client/index.js";
import { HealthCheck } from "../src/proto/containerdts/engine/v1/engine.js";
import { cgroupDirectory } from "../test/harness/cgroup-files.js";
import { startContainerd1 } from "../test/harness/containerd1.js";
import type { TestDaemon } from "../test/harness/daemon.js";
import { type Config, importImage, NO_STDIO, newId, requestFor, texts } from "../test/harness/engine.js";
import { ScratchCgroup } from "../test/harness/scratch-cgroup.js";
import type { ApiV1 } from "../test/harness/v1.js";
import { BareRuntime, rate } from "./bare-runtime.js";
import { bundleOf } from "./engine.js";
import { atMost, type Row, row } from "./row.js";

const HIERARCHY = "cpuacct";
/** So many containers are checked. */
const CHECKED = 20;
/** Execs of the runtime alone in each round, by two callers. */
const BARE_EXECS = 60;
const ROUNDS = 3;
/** In ms: how long checks are looked at in each round, and logs that nobody writes. */
const WINDOW = 10_000;
const IDLE_WINDOW = 20_000;
const FOLLOWERS = 200;

/** A line for each check, by which they are counted. */
const CHECK = ["sh", "-c", "echo >> /checks"];

export async function policyRows(): Promise<Row[]> {
  await using ours = new ScratchCgroup([HIERARCHY]);
  await using bare = new ScratchCgroup([HIERARCHY]);
  const enter = `echo 0 > ${ours.path(HIERARCHY)}/cgroup.procs && exec "$@"`;
  await using daemon = await startContainerd1({ wrapper: ["sh", "-c", enter, "sh"], flags: ["--log-level", "error"] });
  await importImage(daemon);
  const api = daemon.v1("default");
  return [...(await checks(daemon, api, ours, bare)), await followers(daemon, api, ours)];
}

/** At half the rate that the runtime alone reaches, by turns with that. */
async function checks(daemon: TestDaemon, api: ApiV1, ours: ScratchCgroup, bare: ScratchCgroup): Promise<Row[]> {
  const config: Config = { args: texts("sleep", "100000"), writable: true, network: "none" };
  const runtime = new BareRuntime("runc");
  const peer = newId(daemon);
  const bundle = await bundleOf(daemon, api, config, ["sleep", "100000"]);
  const pid = await runtime.createAndStart(peer, bundle, join(bundle, "pid"));
  const ids: string[] = [];
  try {
    const peerUsage = () => usageOf(bare.path(HIERARCHY)) + usageOf(cgroupDirectory(pid, HIERARCHY));
    const bareRound = async () => {
      const [before, began] = [peerUsage(), performance.now()];
      await Promise.all([1, 2].map(() => runcExecs(bare, peer, BARE_EXECS / 2)));
      const seconds = (performance.now() - began) / 1000;
      return { cpu: (peerUsage() - before) / BARE_EXECS, rate: BARE_EXECS / seconds };
    };
    await bareRound();
    const first = await bareRound();
    const wanted = first.rate / 2;
    const interval = Math.round((CHECKED / wanted) * 1000);
    const health = HealthCheck.fromPartial({ test: ["CMD", ...CHECK], interval: BigInt(interval), retries: 1000 });
    const pids = await Promise.all(
      Array.from({ length: CHECKED }, async () => {
        const id = newId(daemon);
        ids.push(id);
        return (await api.engine.run({ create: requestFor({ id, config: { ...config, health } }), stdio: NO_STDIO }))
          .pid;
      }),
    );
    const cgroups = [ours.path(HIERARCHY), ...pids.map((one) => cgroupDirectory(one, HIERARCHY))];
    const usage = () => cgroups.reduce((sum, cgroup) => sum + usageOf(cgroup), 0);
    const count = () => pids.reduce((sum, one) => sum + linesOf(one), 0);
    await delay(2 * interval);
    const sums = { cpu: 0, checks: 0, seconds: 0, bare: 0 };
    for (let n = 0; n < ROUNDS; n++) {
      const [cpu, checked, began] = [usage(), count(), performance.now()];
      await delay(WINDOW);
      sums.cpu += usage() - cpu;
      sums.checks += count() - checked;
      sums.seconds += (performance.now() - began) / 1000;
      // Their own checks go on meanwhile, and are not counted.
      sums.bare += (await bareRound()).cpu / ROUNDS;
    }
    return [
      row({
        name: "engine: CPU of a health check",
        unit: "ms",
        ours: sums.cpu / sums.checks,
        peer: { name: "runc exec", value: sums.bare },
        ...atMost(1.2),
      }),
      row({
        name: "engine: health checks meanwhile",
        unit: "1/s",
        ours: sums.checks / sums.seconds,
        peer: { name: "half the rate of runc exec", value: wanted },
        aim: "ratio >= 0.8",
        met: (_, ratio) => ratio >= 0.8,
      }),
    ];
  } finally {
    await runtime.delete(peer);
    rmSync(bundle, { recursive: true });
    await Promise.all(ids.map((id) => api.engine.remove({ id, force: true })));
  }
}

/** Runs a check so often by the runtime alone, one after the other, in a cgroup of its own. */
async function runcExecs(cgroup: ScratchCgroup, id: string, count: number): Promise<void> {
  const words = CHECK.map((word) => `'${word}'`).join(" ");
  const child = cgroup.run(`i=0; while [ $i -lt ${count} ]; do runc exec ${id} ${words} || exit; i=$((i+1)); done`);
  const status = await new Promise((resolve) => child.once("exit", resolve));
  if (status !== 0) throw new Error(`runc exec: exit status ${status}`);
}

async function followers(daemon: TestDaemon, api: ApiV1, cgroup: ScratchCgroup): Promise<Row> {
  const config: Config = { args: texts("sh", "-c", "echo up; exec sleep 100000"), network: "none" };
  const ids = Array.from({ length: FOLLOWERS }, () => newId(daemon));
  await using client = connect(daemon.listen);
  const leave = new AbortController();
  try {
    await rate(FOLLOWERS, 10, (n) =>
      api.engine.run({ create: requestFor({ id: ids[n]!, config }), stdio: NO_STDIO }, { timeout: 300_000 }),
    );
    await Promise.all(
      ids.map(async (id) => {
        const lines = (await client.containers.get(id)).logs({ follow: true, signal: leave.signal });
        await lines.next();
        // It waits for more.
        lines.next().catch(() => {});
      }),
    );
    await delay(5_000);
    const [before, began] = [usageOf(cgroup.path(HIERARCHY)), performance.now()];
    await delay(IDLE_WINDOW);
    const ours = (usageOf(cgroup.path(HIERARCHY)) - before) / (performance.now() - began);
    return row({
      name: `engine: following ${FOLLOWERS} logs that nobody writes, share of a core`,
      unit: "%",
      ours: ours * 100,
      aim: "<= 5",
      met: (share) => share <= 5,
    });
  } finally {
    leave.abort();
    await rate(FOLLOWERS, 10, (n) => api.engine.remove({ id: ids[n]!, force: true }, { timeout: 300_000 }));
  }
}

/** In ms of CPU time, also of processes that have ended. */
function usageOf(cgroup: string): number {
  return Number(readFileSync(join(cgroup, "cpuacct.usage"), "utf8")) / 1e6;
}

function linesOf(pid: number): number {
  return statSync(`/proc/${pid}/root/checks`, { throwIfNoEntry: false })?.size ?? 0;
}
