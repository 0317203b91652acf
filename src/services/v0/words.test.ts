import { status } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { Failure, taskNotFound } from "../../core/failure/failure.js";
import { checkIdentifier } from "../../core/tasks/identifier.js";
import { serviceError } from "../grpc/status.js";
import { timestampValue } from "../grpc/timestamp.js";
import { wordsOf } from "./words.js";

/** What is thrown. */
function thrown(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

const startTimeout = new Failure("deadline-exceeded", "start-timeout", { timeout: 15_000 });
const runtimeNotFound = (runtime: string, why: "not on the PATH" | "no such file" | "not executable") =>
  new Failure("not-found", "runtime-not-found", { runtime, why });
const taken = (what: "container" | "process" | "checkpoint", path: string) =>
  new Failure("already-exists", "name-taken", { what, path });
const missingFile = Object.assign(new Error("ENOENT: no such file or directory, open '/b/config.json'"), {
  ...{ code: "ENOENT", errno: -2, syscall: "open", path: "/b/config.json" },
});

/** The words of containerd 0.2, which old clients look for, and the codes that this daemon has for them. */
test.each<[what: string, error: unknown, code: keyof typeof status, words: string]>([
  [
    "no bundlePath",
    new Failure("invalid-argument", "missing-value", { name: "bundle path" }),
    "INVALID_ARGUMENT",
    "empty bundle path",
  ],
  ["a container's id in use", taken("container", "/s/c"), "ALREADY_EXISTS", "mkdir /s/c: file exists"],
  ["an exec's pid in use", taken("process", "/s/c/init"), "ALREADY_EXISTS", "mkdir /s/c/init: file exists"],
  ["a checkpoint's name in use", taken("checkpoint", "/b/one"), "ALREADY_EXISTS", "mkdir /b/one: file exists"],
  ["no config.json", missingFile, "NOT_FOUND", "open /b/config.json: no such file or directory"],
  ["unknown container", taskNotFound("c"), "NOT_FOUND", "containerd: container not found"],
  [
    "unknown process",
    new Failure("not-found", "process-not-found", { id: "c", pid: "p" }),
    "NOT_FOUND",
    "containerd: process not found for container",
  ],
  ["no longer there", new Failure("not-found", "process-ended", { pid: "p" }), "NOT_FOUND", "no such process"],
  [
    "AddProcess without id",
    thrown(() => checkIdentifier("container id", "")),
    "INVALID_ARGUMENT",
    "container id cannot be empty",
  ],
  [
    "AddProcess without pid",
    thrown(() => checkIdentifier("process id", "")),
    "INVALID_ARGUMENT",
    "process id cannot be empty",
  ],
  [
    "a checkpoint without name",
    thrown(() => checkIdentifier("checkpoint name", "")),
    "INVALID_ARGUMENT",
    "checkpoint name cannot be empty",
  ],
  [
    "an id that is no path component",
    thrown(() => checkIdentifier("container id", "a/b")),
    "INVALID_ARGUMENT",
    'invalid container id "a/b": must be a single path component',
  ],
  [
    "a bad timestamp",
    thrown(() => timestampValue({ seconds: 1n, nanos: -1 })),
    "INVALID_ARGUMENT",
    "timestamp: seconds:1 nanos:-1: nanos not in range [0, 1e9)",
  ],
  [
    "a bad signal number",
    new Failure("invalid-argument", "invalid-signal", { signal: 999 }),
    "INVALID_ARGUMENT",
    "invalid argument",
  ],
  [
    "start timeout",
    startTimeout,
    "DEADLINE_EXCEEDED",
    "containerd: container did not start before the specified timeout",
  ],
  [
    "update timeout",
    new Failure("deadline-exceeded", "update-timeout", { timeout: 15_000 }),
    "DEADLINE_EXCEEDED",
    "containerd: container did not change before the specified timeout",
  ],
  ["a runtime by name", runtimeNotFound("runv", "not on the PATH"), "NOT_FOUND", "runv not installed on system"],
  [
    "a runtime by path",
    runtimeNotFound("/bin/runv", "no such file"),
    "NOT_FOUND",
    "fork/exec /bin/runv: no such file or directory",
  ],
  [
    "a runtime that is no program",
    runtimeNotFound("/etc/passwd", "not executable"),
    "NOT_FOUND",
    "fork/exec /etc/passwd: permission denied",
  ],
  [
    "shim not found",
    new Failure("not-found", "shim-not-found", { shim: "my-shim" }),
    "NOT_FOUND",
    "my-shim not installed on system",
  ],
  ["shim failed", new Failure("internal", "shim-error", { text: "no FIFO" }), "INTERNAL", "shim error: no FIFO"],
  [
    "runtime failed at create, exec or restore",
    new Failure("internal", "runtime-error", { call: "create", text: "exec: no-such-program" }),
    "INTERNAL",
    "oci runtime error: exec: no-such-program",
  ],
  [
    "neither log says anything",
    new Failure("internal", "start-unexplained", {}),
    "INTERNAL",
    "containerd: container not started",
  ],
  [
    "neither log says anything, since the disk is full",
    new Failure("resource-exhausted", "disk-full", {}),
    "RESOURCE_EXHAUSTED",
    "no space left on device",
  ],
  [
    "shim died before the start was finished",
    new Failure("internal", "shim-ended", {}),
    "INTERNAL",
    "containerd: shim exited before container process was started",
  ],
  [
    "runtime failed at start",
    new Failure("internal", "shim-start-failed", { text: 'exit status 3: "broken\\n"' }),
    "INTERNAL",
    'exit status 3: "broken\\n"',
  ],
  [
    "runtime failed at pause, resume, update, checkpoint",
    new Failure("internal", "runtime-failed", { call: "pause", status: 1, output: 'a "b"\n' }),
    "INTERNAL",
    'exit status 1: "a \\"b\\"\\n"',
  ],
  ["the caller has left", new Failure("cancelled", "call-cancelled", {}), "CANCELLED", "context canceled"],
  [
    "the caller's deadline",
    new Failure("deadline-exceeded", "call-too-late", {}),
    "DEADLINE_EXCEEDED",
    "context deadline exceeded",
  ],
])("%s", (_what, error, code, words) => {
  expect(serviceError(error, { words: wordsOf })).toMatchObject({ code: status[code], details: words });
});

test("the log has plain sentences, with the facts", () => {
  expect(taskNotFound("web").message).toBe('no container "web"');
  expect(startTimeout.message).toBe("not started within 15000 ms");
});
