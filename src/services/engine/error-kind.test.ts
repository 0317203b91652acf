import { expect, test } from "vitest";
import { invalidOption } from "../../core/engine/spec/invalid-option.js";
import { expired } from "../../core/engine/time-to-live.js";
import { Failure, refusal } from "../../core/failure/failure.js";
import { errorKind } from "./error-kind.js";

const said = (text: string) => new Failure("internal", "runtime-error", { call: "create", text });

test.each([
  ["image-not-found", new Failure("not-found", "no-record", { record: "image", name: "alpine" })],
  ["not-found", new Failure("not-found", "container-not-found", { id: "a" })],
  ["id-in-use", new Failure("already-exists", "record-exists", { record: "container", name: "a" })],
  ["wrong-state", new Failure("failed-precondition", "refused", { why: "it is paused" })],
  ["refused", invalidOption("resources.memory", 1000, "it must be more")],
  ["bad-mount", invalidOption("mounts[0].source", "/none", "it does not exist on this host")],
  ["refused", invalidOption("mounts[0].destination", "/", "it can't be the root")],
  ["bad-rootfs", refusal('rootfs "/none": it is not there', "rootfs")],
  ["expired", expired("a")],
  ["runtime-not-found", new Failure("not-found", "runtime-not-found", { runtime: "none", why: "not on the PATH" })],
  ["command-not-found", said('exec: "none": executable file not found in $PATH')],
  ["not-executable", said('exec: "/etc/passwd": permission denied')],
  ["bad-cwd", said('chdir to cwd ("/none") set in config.json failed: no such file or directory')],
  ["bad-limit", said("failed to write 1: open /sys/fs/cgroup/memory/x/memory.limit_in_bytes: invalid argument")],
  ["internal", said("something else")],
  ["internal", new Error("no failure of ours")],
  ["exhausted", Object.assign(new Error("no space"), { code: "ENOSPC" })],
  ["not-found", Object.assign(new Error("no such file"), { code: "ENOENT" })],
  ["id-in-use", Object.assign(new Error("file exists"), { code: "EEXIST" })],
  ["timeout", new Failure("deadline-exceeded", "start-timeout", { timeout: 1 })],
])("%s: %s", (kind, error) => {
  expect(errorKind(error)).toBe(kind);
});
