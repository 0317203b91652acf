import { expect, test } from "vitest";
import { goQuote } from "../../contract/go/quote.js";
import { Failure } from "./failure.js";
import { concealEnvironment, logText } from "./log-text.js";

test.each(["PASSWORD=hunter2", 'PASSWORD=with "quotes"', "PASSWORD=back\\slash\nand line", "no variable at all"])(
  "%j is left out, however often it is quoted",
  (entry) => {
    const quoted = goQuote(`invalid: ${goQuote(entry)}`);
    const error = new Failure("internal", "system", { why: `a ${entry} b ${goQuote(entry)} c ${quoted} d` });
    expect(logText(error)).toBe(error.message);
    concealEnvironment(error, ["PATH=/bin", entry]);
    expect(logText(error)).toMatch(/^a <environment> b "<environment>" c .*<environment>.* d$/);
    expect(logText(error)).not.toContain("PASSWORD");
  },
);

test("everything else stays", () => {
  const error = new Failure("internal", "system", { why: "exec: no such file; A=1" });
  concealEnvironment(error, ["", "A=1", "HOME=/"]);
  expect(logText(error)).toBe(error.message);
  concealEnvironment("no error", ["PATH=/bin"]);
  expect(logText("no error")).toBe("no error");
});

test.each([{ PASSWORD: "hunter2" }, 5, "PASSWORD=hunter2", [["A=b"], 5, null]])(
  "%j is no environment, and does no harm",
  (env) => {
    const error = new Failure("internal", "system", { why: "env is no list of strings" });
    concealEnvironment(error, env as unknown as string[]);
    expect(logText(error)).toBe(error.message);
  },
);
