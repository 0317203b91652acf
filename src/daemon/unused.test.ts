import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { whenUnused } from "./unused.js";

let clients: { open: number; accepted: number };
let tasks: { status: string }[];
let end: ReturnType<typeof vi.fn<() => void>>;
beforeEach(() => {
  vi.useFakeTimers();
  clients = { open: 0, accepted: 0 };
  tasks = [];
  end = vi.fn<() => void>();
  whenUnused({ clients, tasks: { all: () => tasks }, engine: { startsMore: false } }, 1000, end);
});
afterEach(() => void vi.useRealTimers());

test("ends once, when nobody has connected for so long", () => {
  vi.advanceTimersByTime(900);
  expect(end).not.toHaveBeenCalled();
  vi.advanceTimersByTime(10_000);
  expect(end).toHaveBeenCalledOnce();
});

test("not while a client is connected, or one comes now and then", () => {
  clients = Object.assign(clients, { open: 1, accepted: 1 });
  vi.advanceTimersByTime(10_000);
  clients.open = 0;
  for (let n = 0; n < 20; n++) {
    clients.accepted++;
    vi.advanceTimersByTime(900);
  }
  expect(end).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1_200);
  expect(end).toHaveBeenCalledOnce();
});

test.each(["created", "running", "paused"])("not while a container is %s", (status) => {
  tasks = Object.assign(tasks, [{ status: "stopped" }, { status }]);
  vi.advanceTimersByTime(10_000);
  expect(end).not.toHaveBeenCalled();
  tasks.pop();
  vi.advanceTimersByTime(1_000);
  expect(end).toHaveBeenCalledOnce();
});
