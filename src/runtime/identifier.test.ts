import { expect, test } from "vitest";
import { checkIdentifier } from "./identifier.js";

test.each(["a", "redis-1", "a.b", "...", "名前", "a b", "x".repeat(255)])("takes %j", (id) => {
  expect(() => checkIdentifier("container id", id)).not.toThrow();
});

test.each([".", "..", "/", "a/b", "../a", "/abs", "a\0b", "a\nb", "\x7f"])("refuses %j and quotes it", (id) => {
  expect(() => checkIdentifier("process id", id)).toThrow(`invalid process id ${JSON.stringify(id)}`);
});

test("refuses the empty id and one too long for a directory", () => {
  expect(() => checkIdentifier("container id", "")).toThrow("container id cannot be empty");
  expect(() => checkIdentifier("container id", "é".repeat(128))).toThrow("longer than 255 bytes");
});
