import { expect, test } from "vitest";
import { goQuote } from "../../contract/go/quote.js";
import { runtimeWords } from "./runtime-words.js";

const TIME = 'time="2026-11-27T21:56:03Z"';
const failed = (output: string) => runtimeWords(`exit status 1: ${goQuote(output)}`);

test.each([
  ["runc's log", `${TIME} level=error msg="container not paused"\n`, "container not paused"],
  [
    "the error, and not the warning before it",
    `${TIME} level=warning msg="Setting back failed"\n${TIME} level=error msg="failed to write \\"999\\": cpuset.cpus"\n`,
    'failed to write "999": cpuset.cpus',
  ],
  ["a word without quotes", `${TIME} level=error msg=EOF\n`, "EOF"],
  ["a message that ends with a backslash", `${TIME} level=error msg="C:\\\\" x="y"\n`, "C:\\"],
  ["its log as JSON", '{"level":"error","msg":"no \\"such\\" thing","time":"now"}\n', 'no "such" thing'],
  [
    "crun's",
    "2026-11-27T21:56:03.123456Z: writing file `pids.max`: Invalid argument\n",
    "writing file `pids.max`: Invalid argument",
  ],
  ["a program's own words", "no ice\ntoday\n", "no ice; today"],
  ["only a warning", `${TIME} level=warning msg="odd"\n`, "odd"],
])("of a runtime's output: %s", (_, output, words) => {
  expect(failed(output)).toBe(`oci runtime error: ${words}`);
});

test.each(["containerd: container not found", 'exit status 1: ""', "exit status 1", 'exit status 1: "torn'])(
  "another message stays as it is: %s",
  (message) => {
    expect(runtimeWords(message)).toBe(message);
  },
);
