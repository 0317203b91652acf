/** The events of the engine: what is kept of them, without a daemon. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { expect, test } from "vitest";
import { EngineEvents } from "./engine-events.js";

const ALL = { namespace: "default", types: [], actions: [], objects: [], labels: [] };

test("whoever asks for those that are not kept any more is told so", () => {
  const directory = mkdtempSync(join(tmpdir(), "ctd-events-"));
  const path = join(directory, "events.log");
  const open = () => new EngineEvents({ path, prepare: () => {}, log: pino({ enabled: false }) });
  const asked = (since: bigint | undefined) => {
    const leave = new AbortController();
    const { missed, last } = events.follow(ALL, since, () => {}, leave.signal);
    leave.abort();
    return { missed, last };
  };
  const tell = (count: number) => {
    for (let n = 0; n < count; n++) events.tell("default", "id", { type: "container", action: "start" });
    return asked(undefined).last;
  };
  let events = open();
  try {
    const first = tell(1);
    tell(1_022);
    expect(asked(0n).missed).toBe(false);
    expect(asked(undefined).missed).toBe(false);
    const early = tell(10);
    expect(asked(early).missed).toBe(false);
    tell(2_000);
    for (const missed of [0n, first, early]) expect(asked(missed).missed).toBe(true);
    const late = tell(1);
    tell(1_000);
    expect(asked(late)).toMatchObject({ missed: false });
    expect(asked(undefined).missed).toBe(false);
    events.close();
    events = open();
    expect(asked(first).missed).toBe(true);
    expect(asked(late).missed).toBe(false);
  } finally {
    events.close();
    rmSync(directory, { recursive: true });
  }
});
