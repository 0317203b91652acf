/**
 * A test that fails, perhaps to be tried again, leaves none of what it started: the next one finds the ids free. One that runs beside
 * others has a daemon of its own, which takes everything along at its end.
 */
import { afterEach, beforeEach } from "vitest";
import { started } from "./api.js";
import { eventually } from "./wait.js";

beforeEach(({ task }) => {
  if (!task.concurrent) started.length = 0;
});

afterEach(async ({ task }) => {
  if (task.concurrent || task.result?.state !== "fail") return;
  const left = started.splice(0).reverse();
  await Promise.all(
    left.map(({ api, id, pid }) => api.signal({ id, pid, signal: 9 }, { timeout: 10_000 }).catch(() => {})),
  );
  for (const { api, id, pid } of left) {
    const isGone = async () => {
      const { containers } = await api.state({}, { timeout: 10_000 });
      return !containers.some((container) => container.id === id && container.processes.some((p) => p.pid === pid));
    };
    // A daemon that does not answer has nothing that could be in anybody's way.
    await eventually(() => isGone().catch(() => true), { timeout: 30_000 }).catch(() => {});
  }
});
