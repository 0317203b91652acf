/** The daemon is killed while snapshots are prepared, mounted, committed and removed: what was answered holds, and nothing else is left. */
import { randomInt } from "node:crypto";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { faultsOfRoot } from "../harness/check-root.js";
import { KEPT, unpackLayer } from "../harness/client-unpack.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { times } from "../harness/extent.js";
import { Mounted, mountsBelow } from "../harness/mounted.js";
import { directory, file, ImageLayout } from "../harness/test-images.js";
import { type ApiV1, refusal } from "../harness/v1.js";
import { sleep } from "../harness/wait.js";

const snapshotter = "overlayfs";
const LAYERS = 4;
const WORKERS = 4;

let daemon: TestDaemon;
beforeEach(async () => {
  daemon = await startDaemon();
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

type Kind = "active" | "view" | "committed" | undefined;
const KINDS: readonly Kind[] = [undefined, "view", "active", "committed"];

/** What a client knows of one name: what it is by the last answer, and what it would be by the call that has not been answered. */
class Known {
  is: Kind;
  mayBe: Kind;

  /** @param then what it is once the call succeeds */
  async by(call: () => Promise<unknown>, then: Kind): Promise<void> {
    this.mayBe = then;
    await call();
    this.is = then;
  }
}

/** Goes through the life of snapshots until a call fails, as it does when the daemon is killed. */
async function live(api: ApiV1, known: Map<string, Known>, worker: number): Promise<void> {
  for (let n = 0; ; n++) {
    const of = (what: string) => {
      const name = `${what} ${worker} ${n} ${randomInt(1e9)}`;
      const entry = new Known();
      known.set(name, entry);
      return { key: name, entry };
    };
    const parent = `layer-${randomInt(1, LAYERS + 1)}`;
    const [active, view, made] = [of("active"), of("view"), of("made")];
    await active.entry.by(
      () => api.snapshots.prepare({ snapshotter, key: active.key, parent, labels: KEPT }),
      "active",
    );
    const { mounts } = await api.snapshots.mounts({ snapshotter, key: active.key });
    const upper = mounts[0]!.options.find((option) => option.startsWith("upperdir="))!.slice("upperdir=".length);
    for (let i = 0; i < 20; i++) writeFileSync(join(upper, `file-${i}`), "");
    await view.entry.by(() => api.snapshots.view({ snapshotter, key: view.key, parent, labels: KEPT }), "view");
    // Two names change at once.
    made.entry.mayBe = "committed";
    await active.entry.by(
      () => api.snapshots.commit({ snapshotter, name: made.key, key: active.key, labels: KEPT }),
      undefined,
    );
    made.entry.is = "committed";
    for (const { key, entry } of n % 2 === 0 ? [view, made] : [made])
      await entry.by(() => api.snapshots.remove({ snapshotter, key }), undefined);
  }
}

const idsOf = () => readdirSync(join(daemon.root, "snapshots"));

test("kills at random instants", async () => {
  const layout = new ImageLayout(join(daemon.dir, "layout"));
  let parent = "";
  for (let i = 1; i <= LAYERS; i++) {
    const entries = [directory("d"), file(`d/of-${i}`, `${i}`)];
    await unpackLayer(daemon.v1(), layout, { name: `layer-${i}`, parent }, entries);
    parent = `layer-${i}`;
  }
  const rounds = times(100, 6);
  let cut = 0;
  for (let round = 0; round < rounds; round++) {
    const api = daemon.v1();
    const known = new Map<string, Known>();
    const lives = Array.from({ length: WORKERS }, (_, worker) => live(api, known, worker).catch(() => {}));
    await sleep(randomInt(1, 150));
    await daemon.kill();
    await Promise.all(lives);
    expect(await faultsOfRoot(daemon.root, { ofKilled: true }), `round ${round}`).toEqual([]);
    cut += [...known.values()].filter(({ is, mayBe }) => is !== mayBe).length;
    await daemon.start();
    const next = daemon.v1();
    const there = new Map((await next.listSnapshots(snapshotter)).map((info) => [info.name, info]));
    for (const [name, { is, mayBe }] of known)
      expect([is, mayBe], `${name} of round ${round}`).toContain(KINDS[there.get(name)?.kind ?? 0]);
    for (const name of there.keys()) expect(known.has(name) || name.startsWith("layer-"), name).toBe(true);
    // All that is there works.
    const [active] = [...there.values()].filter(({ name, kind }) => KINDS[kind] === "active" && known.has(name));
    if (active !== undefined) {
      const { mounts } = await next.snapshots.mounts({ snapshotter, key: active.name });
      using mounted = new Mounted(daemon.dir, mounts);
      expect(readdirSync(join(mounted.path, "d"))).toContain("of-1");
    }
    for (const name of there.keys()) if (known.has(name)) await next.snapshots.remove({ snapshotter, key: name });
    await next.snapshots.cleanup({ snapshotter });
    expect(mountsBelow(daemon.root)).toEqual([]);
    expect(idsOf().length).toBeLessThanOrEqual(LAYERS);
  }
  // Each worker was in the middle of something in most rounds.
  expect(cut).toBeGreaterThan(rounds);
  const api = daemon.v1();
  expect(await refusal(api.snapshots.remove({ snapshotter, key: "layer-1" }))).toMatch("FAILED_PRECONDITION");
  for (let i = LAYERS; i > 0; i--) await api.snapshots.remove({ snapshotter, key: `layer-${i}` });
  expect([idsOf(), readdirSync(join(daemon.root, "layers")).sort()]).toEqual([[], ["tmp"]]);
  await daemon.kill();
  expect(await faultsOfRoot(daemon.root)).toEqual([]);
});
