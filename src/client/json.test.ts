import { expect, test } from "vitest";
import { Event, StatsResponse } from "../proto/containerd.js";
import { withJson } from "./json.js";

test("an event: its time is RFC 3339, also when it was copied, and all else stays", () => {
  const event = withJson(Event.fromPartial({ type: "exit", id: "a", status: 3, timestamp: { seconds: 5n, nanos: 7 } }));
  const json =
    '{"type":"exit","id":"a","status":3,"pid":"","timestamp":"1970-01-01T00:00:05.000000007Z","memoryPeak":0}';
  expect(JSON.stringify(event)).toBe(json);
  expect(JSON.stringify({ ...event })).toBe(json);
  expect(event.timestamp).toEqual({ seconds: 5n, nanos: 7 });
  expect(Object.keys(event.timestamp!)).toEqual(["seconds", "nanos"]);
});

test("stats: numbers, and texts for what no number of JavaScript can hold", () => {
  const stats = withJson(
    StatsResponse.fromPartial({
      cgroup_stats: { memory_stats: { usage: { usage: 4096n, limit: 2n ** 63n - 4096n } } },
      network_stats: [{ name: "eth0", rx_bytes: 10n }],
    }),
  );
  const read = JSON.parse(JSON.stringify({ stats }));
  expect(read.stats.cgroup_stats.memory_stats.usage).toMatchObject({ usage: 4096, limit: "9223372036854771712" });
  expect(read.stats.network_stats).toEqual([expect.objectContaining({ name: "eth0", rx_bytes: 10 })]);
  expect(structuredClone(stats)).toEqual(stats);
});
