import { status } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { Failure, taskNotFound } from "../../core/failure/failure.js";
import { codeOf, wordsOf } from "./words.js";

const NOPE = 'runc create failed: unable to start container process: exec: "nope": executable file not found in $PATH';
const create = (text: string) => new Failure("internal", "runtime-error", { call: "create", text });
const exec = (text: string) => new Failure("internal", "runtime-error", { call: "exec", text });
const failed = (call: string, output: string) => new Failure("internal", "runtime-failed", { call, status: 1, output });
const noRuntime = (runtime: string, why: "not on the PATH" | "no such file" | "not executable") =>
  new Failure("not-found", "runtime-not-found", { runtime, why });

/** As containerd 1.6 says them, but where it repeats a path of its own. */
test.each<[Failure, string]>([
  [taskNotFound("web"), "task web not found: not found"],
  [new Failure("not-found", "process-not-found", { id: "web", pid: "e" }), "process does not exist e: not found"],
  [new Failure("not-found", "process-ended", { pid: "init" }), "process already finished: not found"],
  [
    new Failure("not-found", "no-record", { record: "container", name: "web", namespace: "moby" }),
    'container "web" in namespace "moby": not found',
  ],
  [
    new Failure("already-exists", "name-taken", { what: "container", path: "/run/x/moby/web" }),
    "task web: already exists",
  ],
  [
    new Failure("failed-precondition", "refused", { why: "namespace is required" }),
    "namespace is required: failed precondition",
  ],
  [create(NOPE), `failed to create shim task: OCI runtime create failed: ${NOPE}: unknown`],
  [
    exec('exec failed: exec: "/bin": permission denied'),
    'OCI runtime exec failed: exec failed: exec: "/bin": permission denied: unknown',
  ],
  [failed("pause", "container not running\n"), "OCI runtime pause failed: container not running: unknown"],
  [failed("update", ""), "OCI runtime update failed: exit status 1: unknown"],
  [
    noRuntime("nope", "not on the PATH"),
    'failed to create shim task: OCI runtime create failed: exec: "nope": executable file not found in $PATH: unknown',
  ],
  [
    noRuntime("/nope/runc", "no such file"),
    'failed to create shim task: OCI runtime create failed: exec: "/nope/runc": no such file or directory: unknown',
  ],
  [
    noRuntime("/etc/passwd", "not executable"),
    'failed to create shim task: OCI runtime create failed: exec: "/etc/passwd": permission denied: unknown',
  ],
  [
    new Failure("internal", "shim-error", { text: "nope not installed on system" }),
    'failed to create shim task: OCI runtime create failed: exec: "nope": executable file not found in $PATH: unknown',
  ],
  [
    new Failure("internal", "shim-error", { text: "fork/exec /nope/runc: no such file or directory" }),
    'failed to create shim task: OCI runtime create failed: exec: "/nope/runc": no such file or directory: unknown',
  ],
  [
    new Failure("internal", "shim-error", { text: "it has lost its memory" }),
    "failed to create shim task: it has lost its memory: unknown",
  ],
  [
    new Failure("not-found", "shim-not-found", { shim: "shim" }),
    'failed to start shim: exec: "shim": executable file not found in $PATH: unknown',
  ],
  [new Failure("resource-exhausted", "disk-full", {}), "no space left on device: resource exhausted"],
])("%s", (failure, words) => {
  expect(wordsOf(failure)).toBe(words);
});

test("a code of 1.x: what nobody knows the kind of, a runtime that is missing too, is Unknown", () => {
  expect(codeOf(create(NOPE))).toBe(status.UNKNOWN);
  expect(codeOf(noRuntime("nope", "not on the PATH"))).toBe(status.UNKNOWN);
  expect(codeOf(taskNotFound("web"))).toBeUndefined();
});

test("an error that nobody foresaw", () => {
  expect(wordsOf(new Error("boom"))).toBe("boom: unknown");
});
