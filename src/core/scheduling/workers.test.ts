import { expect, test } from "vitest";
import { Workers } from "./workers.js";

const deferred = () => {
  let end = () => {};
  const promise = new Promise<void>((resolve) => {
    end = resolve;
  });
  return { promise, end };
};
const live = new AbortController().signal;

test("runs so many at a time, the rest in order", async () => {
  const workers = new Workers(2);
  const jobs = [deferred(), deferred(), deferred(), deferred()];
  const begun: number[] = [];
  const all = jobs.map((job, n) =>
    workers.run(live, () => {
      begun.push(n);
      return job.promise;
    }),
  );
  await Promise.resolve();
  expect(begun).toEqual([0, 1]);
  expect(workers.queued).toBe(2);
  jobs[1]!.end();
  await all[1];
  await Promise.resolve();
  expect(begun).toEqual([0, 1, 2]);
  for (const job of jobs) job.end();
  await Promise.all(all);
  expect(begun).toEqual([0, 1, 2, 3]);
});

test("an aborted start leaves the queue", async () => {
  const workers = new Workers(1);
  const first = deferred();
  const running = workers.run(live, () => first.promise);
  const controller = new AbortController();
  const waiting = workers.run(controller.signal, () => Promise.reject(new Error("must not run")));
  controller.abort(new Error("gave up"));
  await expect(waiting).rejects.toThrow("gave up");
  first.end();
  await running;
  expect(await workers.run(live, async () => "free")).toBe("free");
});

test("a failed start frees its worker", async () => {
  const workers = new Workers(1);
  await expect(workers.run(live, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await workers.run(live, async () => "free")).toBe("free");
});
