import { expect, test } from "vitest";
import { goJson } from "./go-json.js";

test("zero values are left out, what is there keeps its order", () => {
  const init = { pid: "init", terminal: false, user: { uid: 0, additionalGids: [] }, args: [], cwd: "", systemPid: 7 };
  const state = {
    containers: [{ id: "web", processes: [init], status: "running", labels: [], pids: [7, 0], runtime: "" }],
    machine: { cpus: 2, memory: 24105n },
  };
  expect(goJson(state)).toBe(
    '{"containers":[{"id":"web","processes":[{"pid":"init","user":{},"systemPid":7}],"status":"running","pids":[7,0]}],' +
      '"machine":{"cpus":2,"memory":24105}}',
  );
  expect(goJson({ containers: [], machine: undefined })).toBe("{}");
});

test("64 bits lose no digit; maps are sorted, keep their zeros and are left out when empty", () => {
  const stats = {
    memory_stats: {
      cache: 0n,
      usage: { usage: 0n, limit: 18446744073709551615n },
      stats: { rss: 0n, cache: 9007199254740993n },
    },
    hugetlb_stats: { "2MB": { usage: 0n } },
  };
  expect(goJson(stats)).toBe(
    '{"memory_stats":{"usage":{"limit":18446744073709551615},' +
      '"stats":{"cache":9007199254740993,"rss":0}},"hugetlb_stats":{"2MB":{}}}',
  );
  expect(goJson({ memory_stats: { stats: {} }, hugetlb_stats: {} })).toBe('{"memory_stats":{}}');
});

test("strings are escaped as Go escapes them", () => {
  expect(goJson({ text: '<a href="x">&\u2028\b\f\n\\b\u0001é' })).toBe(
    '{"text":"\\u003ca href=\\"x\\"\\u003e\\u0026\\u2028\\u0008\\u000c\\n\\\\b\\u0001é"}',
  );
});
