/**
 * The kill suite over volumes: containers that make, fill, share and leave them, and a daemon that is killed among the calls. What was
 * written to a volume with a name is there as long as that is, what an image has is there as a whole or not at all, and nothing may be
 * left.
 */
import { faultsOfRoot } from "../harness/check-root.js";
import { startDaemon } from "../harness/daemon.js";
import { importImage, NO_STDIO, requestFor, texts } from "../harness/engine.js";
import { makeNetworkNamespace } from "../harness/network-namespace.js";
import type { ApiV1 } from "../harness/v1.js";
import { importVolumesImage, VOLUMES_IMAGE, volumeAt } from "../harness/volumes.js";
import { eventually, sleep } from "../harness/wait.js";
import { Clients } from "./engine-kills.js";
import { copyBuild } from "./private-build.js";
import { Random } from "./random.js";
import type { Work } from "./work.js";

export interface VolumeKillReport {
  kills: number;
  violations: string[];
  /** How often each call was carried out. */
  work: Work;
}

const PHASES = ["create volume", "run", "remove", "remove volume", "create"];
/** In ms: how long a call of the phase is waited for, and how long it is left to go on at most. */
const PHASE_TIMEOUT = 2_000;
const PHASE_DEPTH = 60;

export async function runVolumeKills(options: {
  kills: number;
  seed: number;
  places?: number;
}): Promise<VolumeKillReport> {
  const report: VolumeKillReport = { kills: 0, violations: [], work: {} };
  const violation = (text: string) => void report.violations.push(`after kill ${report.kills}: ${text}`);
  const random = new Random(options.seed);
  using build = copyBuild();
  await using host = await makeNetworkNamespace();
  await using daemon = await startDaemon({
    ...{ program: build.daemon, flags: ["--shim", build.shim], wrapper: host.enter() },
  });
  await importImage(daemon);
  await importVolumesImage(daemon);
  const clients = new Clients(daemon, host, report.work, violation);
  let isEnding = false;
  const lives = Array.from({ length: options.places ?? 4 }, async (_, place) => {
    const own = random.fork();
    for (let n = 0; !isEnding; n++) await live(clients, daemon.id(`v${place}-${n}`), own);
  });
  const ended = Promise.all(lives).catch((error: Error) => violation(`a client gave up: ${error.message}`));
  while (report.kills < options.kills && report.violations.length === 0) {
    const phase = PHASES[report.kills % PHASES.length]!;
    const isOpen = () => [...clients.open.values()].includes(phase);
    await eventually(isOpen, { timeout: PHASE_TIMEOUT, interval: 1 }).catch(() => {});
    await sleep(random.next() * PHASE_DEPTH);
    clients.down();
    await daemon.kill();
    report.kills++;
    await daemon.start();
    clients.up();
  }
  isEnding = true;
  await ended;
  for (const { name } of (await daemon.v1().volumes.list({ labels: [] })).volumes) violation(`volume ${name} is there`);
  await daemon.stop();
  for (const fault of await faultsOfRoot(daemon.root)) violation(fault);
  await daemon.expectNothingLeft().catch((error: Error) => violation(error.message));
  if (report.violations.length > 0) violation(`the daemon's log:\n${daemon.log.split("\n").slice(-60).join("\n")}`);
  return report;
}

/** A volume with a name, from its creation to its removal, with two containers that have it one after the other. */
async function live(clients: Clients, id: string, random: Random): Promise<void> {
  const { violation } = clients;
  const call = <T>(kind: string, request: (api: ApiV1) => Promise<T>, done?: RegExp) =>
    clients.call(kind, id, request, done);
  const name = `${id}-volume`;
  if (random.chance(0.5)) await call("create volume", (api) => api.volumes.create({ name, labels: {} }));
  const script = (turn: number) =>
    `test "$(cat /data/hidden/new)" = new && test "$(ls /data | wc -l)" = ${turn === 0 ? 5 : 6} || exit 9
     test ${turn} = 0 || test "$(cat /data/written)" = ${id} || exit 8
     echo ${id} > /data/written; sync; echo x > /logs/x`;
  for (let turn = 0; turn < 2; turn++) {
    const own = `${id}-${turn}`;
    const request = requestFor({
      id: own,
      owned: random.chance(0.3),
      config: {
        image: VOLUMES_IMAGE,
        readOnly: true,
        args: texts("sh", "-c", script(turn)),
        mounts: [volumeAt(name, "/data")],
      },
    });
    if (random.chance(0.5)) await call("run", (api) => api.engine.run({ create: request, stdio: NO_STDIO }));
    else {
      await call("create", (api) => api.engine.create(request));
      // Without an answer it may have run to its end: it is not started once more, and finds what it has written itself.
      await call("start", (api) => api.engine.start({ id: own, stdio: NO_STDIO, startId: own }));
    }
    const exit = await call("wait", (api) => api.engine.wait({ id: own }));
    if (exit?.status !== 0) violation(`${own}: ended with ${exit?.status}: ${exit?.error}`);
    const described = await call("get", (api) => api.engine.get({ id: own }));
    const anonymous = described?.volumes.filter((volume) => volume.anonymous) ?? [];
    if (anonymous.length !== 1) violation(`${own}: has ${anonymous.length} volumes without a name`);
    await call("remove", (api) => api.engine.remove({ id: own }), /^NOT_FOUND/);
  }
  const volume = await call("get volume", (api) => api.volumes.get({ name, size: false }));
  if (volume?.containers.length !== 0) violation(`${name}: is used by ${volume?.containers}`);
  await call("remove volume", (api) => api.volumes.remove({ name }), /^NOT_FOUND/);
}
