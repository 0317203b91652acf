/** Much output through the terminals of tasks and execs, whose size changes up to their end and beyond it: no byte of it is lost. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { useContainerd1 } from "../harness/containerd1.js";
import { times } from "../harness/extent.js";
import { createTask, startTask, type TaskProcess } from "../harness/task.js";

const fixture = useContainerd1();

/** 1 MB of numbered lines, and a status; most of it is written when nobody reads as fast. */
const LINES = 131_072;
const args = ["awk", `BEGIN { for (i = 1; i <= ${LINES}; i++) printf "%06d\\n", i; exit 7 }`];
const expected = Array.from({ length: LINES }, (_, index) => `${String(index + 1).padStart(6, "0")}\r\n`).join("");

/** Resizes without pause; that the process has gone is no reason to end. Answers how often it could be done. */
async function resize(containerId: string, execId: string, signal: AbortSignal): Promise<number> {
  let done = 0;
  for (let count = 0; !signal.aborted; count++) {
    const size = { width: 80 + (count % 100), height: 25 + (count % 30) };
    await fixture.api.tasks.resizePty({ containerId, execId, ...size }).then(
      () => done++,
      () => {},
    );
  }
  return done;
}

async function expectAll(process: TaskProcess, containerId: string, execId: string): Promise<void> {
  await process.start();
  const over = new AbortController();
  const resized = resize(containerId, execId, over.signal);
  try {
    // A client that is busy for a moment, as one that shows it is: the process has to wait.
    for (let count = 0; count < 5; count++) {
      process.stdio.stdout.pause();
      await sleep(5);
      process.stdio.stdout.resume();
      await sleep(1);
    }
    expect(await process.exit()).toBe(7);
    // Of a terminal nobody opens stderr.
    process.stdio.stderr.destroy();
    const { stdout } = await process.output();
    expect(stdout.length).toBe(expected.length);
    expect(stdout === expected).toBe(true);
    await process.delete();
  } finally {
    over.abort();
    expect(await resized).toBeGreaterThan(0);
  }
}

test.each(Array.from({ length: times(20, 3) }, (_, count) => count))("of an init, %i", async (count) => {
  const { daemon, api } = fixture;
  await using task = await createTask(daemon, api, { name: `init-${count}`, args, terminal: true, stdio: true });
  await expectAll(task, task.id, "");
});

test("of execs, some at once", async () => {
  const { daemon, api } = fixture;
  await using task = await startTask(daemon, api, { name: "execs", args: ["sleep", "1000"] });
  const one = async (execId: string) => {
    using exec = await task.exec({ execId, args, terminal: true, stdio: true });
    await expectAll(exec, task.id, execId);
  };
  for (let round = 0; round < times(10, 1); round++) await Promise.all(["a", "b", "c"].map(one));
});
