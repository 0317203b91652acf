/** Containers that are removed when their time to live is over, whatever becomes of the daemon meanwhile. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { bootTime } from "../../src/system/linux/clock.js";
import { useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { type Config, importImage, NO_STDIO, newId, requestFor, texts } from "../harness/engine.js";
import { full } from "../harness/extent.js";
import { refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

/** Of the daemons that are started from now on. */
const env: Record<string, string> = {};
const fixture = useContainerd1({ env });
let daemon: TestDaemon;

beforeAll(async () => {
  daemon = fixture.daemon;
  await importImage(daemon);
});

const engine = () => daemon.v1().engine;
/** In ms: longer than any test takes. */
const LONG = 3_600_000n;
/** In ms: what a test waits for. */
const SHORT = 500n;
/** In ms: so long that a daemon is killed before that is over. */
const AWAY = 4_000n;
const OVER = "NOT_FOUND: no container";

async function running(
  ttl: bigint,
  { config = {}, owned }: { config?: Config; owned?: boolean } = {},
): Promise<string> {
  const id = newId(daemon);
  const request = requestFor({ id, config: { args: texts("sleep", "100000"), ...config }, ...(owned && { owned }) });
  await engine().run({ create: { ...request, ttl }, stdio: NO_STDIO });
  return id;
}

const leftInMs = async (id: string) => {
  const { expiresAt } = await engine().get({ id });
  return Number(expiresAt!.seconds) * 1000 + expiresAt!.nanos / 1e6 - Date.now();
};

const gone = (id: string) =>
  eventually(async () => expect(await refusal(engine().get({ id }))).toContain("its time to live was over"));

const passed = async (ms: bigint) => {
  const end = bootTime() + Number(ms);
  await eventually(() => bootTime() > end);
};

test("what is over while the daemon is away is gone with the next one, which tells who waits; what is not over stays", async () => {
  const [over, stays] = [await running(LONG, { config: { writable: true } }), await running(LONG)];
  const execId = "e";
  await engine().exec({ id: over, execId, args: ["sleep", "100000"], stdio: NO_STDIO });
  await engine().update({ id: over, ttl: AWAY });
  await daemon.kill();
  await passed(AWAY);
  await daemon.start();
  expect(await engine().wait({ id: over })).toMatchObject({ status: 137, expired: true, timedOut: false });
  expect(await engine().wait({ id: over, execId })).toMatchObject({ status: 137, expired: true });
  expect(await refusal(engine().start({ id: over }))).toContain(OVER);
  expect(await daemon.v1().listSnapshots("overlayfs", `name==${over}`)).toEqual([]);
  expect((await daemon.v1().tasks.list()).tasks.map(({ id }) => id)).toEqual([stays]);
  const left = await leftInMs(stays);
  expect(left).toBeGreaterThan(Number(LONG) / 2);
  expect(left).toBeLessThanOrEqual(Number(LONG));
  // It goes on counting, and can be changed, and ends.
  await engine().update({ id: stays, ttl: SHORT });
  await gone(stays);
});

test.skipIf(!full)("who waits when it is over is told; so is who has paused it, and who owns it", async () => {
  const [paused, owned, usual] = [await running(LONG), await running(LONG, { owned: true }), await running(LONG)];
  await engine().pause({ id: paused });
  const waits = [paused, owned, usual].map((id) => engine().wait({ id }));
  for (const id of [paused, owned, usual]) await engine().update({ id, ttl: 1n });
  for (const exit of await Promise.all(waits)) expect(exit).toMatchObject({ status: 137, expired: true });
  for (const id of [paused, owned, usual]) await gone(id);
  expect((await daemon.v1().tasks.list()).tasks).toEqual([]);
  await eventually(async () => expect((await daemon.v1().containers.list()).containers).toEqual([]));
});

test.skipIf(!full)("one that never ran, and one that has stopped, are removed as well", async () => {
  const [created, stopped] = [newId(daemon), newId(daemon)];
  await engine().create({ ...requestFor({ id: created, config: { writable: true } }), ttl: SHORT });
  await engine().run({
    create: { ...requestFor({ id: stopped, config: { args: texts("sh", "-c", "exit 4") } }), ttl: LONG },
    stdio: NO_STDIO,
  });
  expect(await engine().wait({ id: stopped })).toMatchObject({ status: 4, expired: false });
  await engine().update({ id: stopped, ttl: 1n });
  await gone(created);
  await gone(stopped);
  // It had ended by itself.
  expect(await engine().wait({ id: stopped })).toMatchObject({ status: 4, expired: false });
  // Its id is free.
  await engine().create(requestFor({ id: created, config: {} }));
  await engine().remove({ id: created });
});

test.skipIf(!full)(
  "it can be taken away, and resuming gives another one; daemons that are killed forget none of it",
  async () => {
    const [forever, resumed] = [await running(SHORT * 20n), await running(LONG)];
    await engine().update({ id: forever, ttl: 0n });
    await engine().pause({ id: resumed });
    await engine().resume({ id: resumed, ttl: 2n * LONG });
    // One that runs is given it, too.
    await engine().resume({ id: resumed, ttl: 3n * LONG });
    // What belongs to a program gets it without a wait for the disk.
    const owned = [await running(0n, { owned: true }), await running(SHORT * 20n, { owned: true })] as const;
    await Promise.all([engine().resume({ id: owned[0], ttl: 3n * LONG }), engine().resume({ id: owned[1], ttl: 0n })]);
    await daemon.kill();
    await daemon.start();
    expect(await leftInMs(owned[0])).toBeGreaterThan(2 * Number(LONG));
    expect((await engine().get({ id: owned[1] })).expiresAt).toBeUndefined();
    for (const id of owned) await engine().remove({ id, force: true });
    expect((await engine().get({ id: forever })).expiresAt).toBeUndefined();
    expect((await engine().get({ id: resumed })).status).toBe("running");
    expect(await leftInMs(resumed)).toBeGreaterThan(2 * Number(LONG));
    for (const id of [forever, resumed]) await engine().remove({ id, force: true });
    // Of what was removed by somebody nothing is told.
    expect(await refusal(engine().get({ id: resumed }))).not.toContain("time to live");
  },
);

test.skipIf(!full)(
  "a fork has a time of its own; the same request again is the same container, with another time it is not",
  async () => {
    const source = await running(LONG, { config: { writable: true } });
    const fork = newId(daemon);
    const create = { ...requestFor({ id: fork }), config: undefined, ttl: 2n * LONG };
    for (let time = 0; time < 2; time++) await engine().fork({ id: source, create });
    expect(await refusal(engine().fork({ id: source, create: { ...create, ttl: LONG } }))).toContain("ALREADY_EXISTS");
    expect(await leftInMs(fork)).toBeGreaterThan(Number(LONG));
    await engine().update({ id: source, ttl: 1n });
    await gone(source);
    expect((await engine().get({ id: fork })).status).toBe("created");
    await engine().remove({ id: fork });
  },
);

test.skipIf(!full)("a daemon to which the clock says something else keeps to it", async () => {
  const id = await running(LONG);
  const shift = join(daemon.dir, "shift.mjs");
  try {
    for (const hours of [-48, 48]) {
      await daemon.kill();
      writeFileSync(shift, `const now = Date.now; Date.now = () => now() + ${hours * 3_600_000};`);
      env.NODE_OPTIONS = `--import=${shift}`;
      await daemon.start();
      expect(await leftInMs(id)).toBeGreaterThan(Number(LONG) / 2);
    }
  } finally {
    delete env.NODE_OPTIONS;
    await daemon.restart({ kill: true });
  }
  // What is written down is no time of day.
  const { container } = await daemon.v1().containers.get({ id });
  const { ttl } = JSON.parse(String(container!.extensions["containerdts.engine.v1"]!.value));
  expect(ttl.endsAt).toBeGreaterThan(bootTime());
  expect(ttl.endsAt).toBeLessThanOrEqual(bootTime() + Number(LONG));
  await engine().remove({ id, force: true });
});

test.skipIf(!full)("a time that makes no sense is refused", async () => {
  const id = newId(daemon);
  const create = { ...requestFor({ id }), ttl: -1n };
  expect(await refusal(engine().create(create))).toContain("INVALID_ARGUMENT: ttl -1");
  const there = await running(LONG);
  expect(await refusal(engine().update({ id: there, ttl: -5n }))).toContain("INVALID_ARGUMENT: ttl -5");
  expect(await refusal(engine().resume({ id: there, ttl: -5n }))).toContain("INVALID_ARGUMENT: ttl -5");
  await engine().remove({ id: there, force: true });
});

test.skipIf(!full)("an idle container reaps what others leave, and takes no command", async () => {
  const id = newId(daemon);
  const idle = (config: Config) => requestFor({ id, config: { idle: true, ...config } });
  const refused = await refusal(engine().create(idle({ args: texts("true") })));
  expect(refused).toContain("idle");
  await engine().run({ create: idle({}), stdio: NO_STDIO });
  const { pid } = await engine().get({ id });
  await engine().exec({ id, execId: "e", args: ["sh", "-c", "(sleep 0.01 &) ; exit 0"], stdio: NO_STDIO });
  await engine().wait({ id, execId: "e" });
  await eventually(async () => expect((await engine().top({ id })).pids).toEqual([pid]));
  await engine().remove({ id, force: true });
});
