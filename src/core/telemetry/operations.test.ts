import { pino } from "pino";
import { expect, test } from "vitest";
import { Operations } from "./operations.js";

function recorded() {
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: "debug", base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  return { operations: new Operations(log), lines };
}

test("an operation is known from its beginning to the end of its promise", async () => {
  const { operations, lines } = recorded();
  let finish = () => {};
  const result = operations.run({ kind: "exec", id: "a", pid: "p" }, async (operation) => {
    operation.doing = "waiting";
    await new Promise<void>((resolve) => {
      finish = resolve;
    });
    return 7;
  });
  expect([...operations.running]).toMatchObject([{ kind: "exec", id: "a", pid: "p", doing: "waiting" }]);
  finish();
  expect(await result).toBe(7);
  expect(operations.running.size).toBe(0);
  expect(operations.totals.exec).toEqual({ succeeded: 1, failed: 0 });
  expect(lines).toMatchObject([{ kind: "exec", id: "a", pid: "p", duration: expect.any(Number) }]);
});

test("one that fails is counted as failed, and its error goes on to the caller", async () => {
  const { operations, lines } = recorded();
  await expect(operations.run({ kind: "start", id: "a" }, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(() =>
    operations.run({ kind: "signal", id: "a" }, () => {
      throw new Error("gone");
    }),
  ).toThrow("gone");
  expect(operations.totals).toMatchObject({
    start: { succeeded: 0, failed: 1 },
    signal: { succeeded: 0, failed: 1 },
  });
  expect(operations.running.size).toBe(0);
  expect(lines.map(({ error }) => error).sort()).toEqual(["gone", "no"]);
});
