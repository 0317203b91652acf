/** `wait()` tells the end of the very process that it is asked for, whatever the clocks say and wherever the daemon is. */
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { type ContainerdError, connect } from "../../src/client/index.js";
import { useClient } from "../harness/client.js";
import { eventually, sleep } from "../harness/wait.js";

const here = useClient();
const unhandled: unknown[] = [];
const note = (reason: unknown) => unhandled.push(reason);
beforeAll(async () => {
  process.on("unhandledRejection", note);
});
afterEach(() => {
  vi.unstubAllGlobals();
  expect(unhandled).toEqual([]);
});
afterAll(async () => {
  process.off("unhandledRejection", note);
});

const start = (id: string, args: string[], stdio: "pipe" | "ignore" = "pipe") =>
  here.client.v0.containers.start({ ...here.place(), id, args, stdio });

/** As if the machine of this program had another time than the daemon's. */
function shiftClock(ms: number): void {
  const Real = Date;
  class Shifted extends Real {
    constructor(...moment: [number]) {
      super(...(moment.length > 0 ? moment : ([Shifted.now()] as [number])));
    }
    static override now() {
      return Real.now() + ms;
    }
  }
  vi.stubGlobal("Date", Shifted);
}

const HOUR = 3_600_000;

test.each([
  ["an hour slow", -HOUR],
  ["right", 0],
  ["an hour fast", HOUR],
])("with a clock that is %s: not the status of the run before, in any way of waiting", async (_, shift) => {
  const id = here.daemon.id("again");
  for (const status of [3, 4]) {
    const earlier = await start(id, ["sh", "-c", `exit ${status}`]);
    expect((await earlier.wait()).status).toBe(status);
  }
  shiftClock(shift);
  // A connection of its own has seen nothing of the runs before.
  await using other = connect(here.daemon.listen);
  for (const stdio of ["pipe", "ignore"] as const) {
    await using container = await start(id, ["sleep", "1000"], stdio);
    const found = await other.v0.containers.get(id);
    const waits = [container.wait(), found.wait(), other.v0.containers.reference(id).wait()];
    await expect(found.wait({ timeout: 200 })).rejects.toMatchObject({ kind: "timeout", code: "DEADLINE_EXCEEDED" });
    await container.kill("USR1");
    // The first process of a PID namespace takes no signal that it has no handler for.
    await container.kill("KILL");
    expect((await Promise.all(waits)).map(({ status }) => status)).toEqual([137, 137, 137]);
    // Also long after.
    expect((await found.wait()).status).toBe(137);
  }
  await here.daemon.expectNothingLeft();
});

test("a handle of an ended run does not wait for the next run of that id", async () => {
  const id = here.daemon.id("next");
  await using first = await start(id, ["sh", "-c", "read line; exit 5"]);
  const found = await here.client.v0.containers.get(id);
  first.init.stdin.end();
  await first.wait();
  await using second = await start(id, ["sleep", "1000"]);
  expect((await found.wait()).status).toBe(5);
  await expect(second.wait({ timeout: 0 })).rejects.toMatchObject({ kind: "timeout" });
});

test("a subscription that has seen nothing yet resumes by the daemon's time", async () => {
  const id = here.daemon.id("resume");
  const earlier = await start(id, ["sh", "-c", "exit 3"]);
  await earlier.wait();
  await using container = await start(id, ["sh", "-c", "read line; exit 6"]);
  shiftClock(-HOUR);
  await using other = connect(here.daemon.listen);
  const events = other.v0.events({ id });
  await events.subscribed();
  const next = events.next();
  const waits = [(await other.v0.containers.get(id)).wait(), container.wait()];
  await here.daemon.restart({ kill: true });
  container.init.stdin.end();
  expect((await Promise.all(waits)).map(({ status }) => status)).toEqual([6, 6]);
  // The exit of the run before is older than the subscription.
  expect((await next).value).toMatchObject({ type: "exit", status: 6 });
  await events.return();
});

test("a wait that begins while the daemon is away waits for it; so do many, through restarts", {
  timeout: 120_000,
}, async () => {
  const id = here.daemon.id("away");
  await using container = await start(id, ["sh", "-c", "read line; exit 7"]);
  await using other = connect(here.daemon.listen);
  const found = await other.v0.containers.get(id);
  const reference = other.v0.containers.reference(id);
  const waits: Promise<{ status: number }>[] = [];
  /** Without a moment from which on the end is to be looked for: one that reaches the daemon only after the end can't know of it. */
  const ofReference: Promise<number | string>[] = [];
  const waitByReference = () =>
    ofReference.push(
      reference.wait().then(
        ({ status }) => status,
        (error: ContainerdError) => error.kind,
      ),
    );
  let restarting = true;
  const restarts = (async () => {
    for (let count = 0; count < 4; count++) {
      await here.daemon.kill();
      waits.push(container.wait(), found.wait());
      waitByReference();
      await sleep(50);
      await here.daemon.start();
    }
    restarting = false;
  })();
  // At every moment of them.
  while (restarting) {
    waits.push(found.wait());
    waitByReference();
    await sleep(20);
  }
  await restarts;
  // One that is aborted meanwhile leaves nothing that nobody looks at.
  await here.daemon.kill();
  await expect(found.wait({ signal: AbortSignal.timeout(30) })).rejects.toMatchObject({ name: "TimeoutError" });
  await expect(found.wait({ signal: AbortSignal.abort(new Error("before")) })).rejects.toThrow("before");
  const late = expect(found.wait({ timeout: 30 })).rejects.toMatchObject({ kind: "timeout" });
  await late;
  await using impatient = connect(here.daemon.listen, { patience: 100 });
  await expect(impatient.v0.containers.reference(id).wait()).rejects.toMatchObject({ kind: "unreachable" });
  await here.daemon.start();
  expect(waits.length).toBeGreaterThan(20);
  container.init.stdin.end();
  const statuses = new Set((await Promise.all(waits)).map(({ status }) => status));
  expect([...statuses]).toEqual([7]);
  for (const outcome of new Set(await Promise.all(ofReference))) expect([7, "not-found"]).toContain(outcome);
});

test("closing the client right after a stdin's end, and with waits under way, is no crash", async () => {
  const id = here.daemon.id("close");
  await using container = await start(id, ["sleep", "1000"]);
  const other = connect(here.daemon.listen);
  const child = await other.v0.containers.reference(id).exec(["cat"], { stdioDir: here.daemon.dir });
  const waits = [child.wait(), other.v0.containers.reference(id).wait()];
  child.stdin.end();
  other.close();
  for (const wait of waits) await expect(wait).rejects.toMatchObject({ kind: "closed" });
  child.detach();
  await container.remove();
  await eventually(() => child.stdin.closed, { what: "the stdin is closed" });
});
