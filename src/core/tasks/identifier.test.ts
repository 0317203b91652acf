import { expect, test } from "vitest";
import { checkIdentifier, isIdentifier } from "./identifier.js";

test.each(["a", "redis-1", "a.b", "...", "名前", "a b", "x".repeat(255)])("takes %j", (id) => {
  expect(() => checkIdentifier("container id", id)).not.toThrow();
});

test.each([".", "..", "/", "a/b", "../a", "/abs", "a\0b", "a\nb", "\x7f"])("refuses %j and quotes it", (id) => {
  expect(() => checkIdentifier("process id", id)).toThrow(`invalid process id ${JSON.stringify(id)}`);
});

test.each(["events.log", "events.log.tmp", "state.json.tmp", "containerd.sock", ".partial-1", "io.containerd.x"])(
  "refuses %j, which is the daemon's own",
  (id) => {
    for (const what of ["container id", "process id"] as const) {
      expect(() => checkIdentifier(what, id)).toThrow(
        `invalid ${what} ${JSON.stringify(id)}: names of this kind are the`,
      );
    }
    // Checkpoints lie elsewhere.
    expect(() => checkIdentifier("checkpoint name", id)).not.toThrow();
  },
);

test("refuses the empty id and one too long for a directory", () => {
  expect(() => checkIdentifier("container id", "")).toThrow("container id cannot be empty");
  expect(() => checkIdentifier("container id", "é".repeat(128))).toThrow("longer than 255 bytes");
});

test("says so without an error, too", () => {
  expect(["e", "a.b"].every((id) => isIdentifier("process id", id))).toBe(true);
  expect(["", ".", "..", "../a", "state.json"].some((id) => isIdentifier("process id", id))).toBe(false);
});
