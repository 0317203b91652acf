/** Which runtime a task of containerd 1.x's API gets, with what, and what is told when it can't start. */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { Options } from "../../src/proto/containerd/types/runc/options/oci.js";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { findProgram } from "../harness/paths.js";
import { createContainer, createTask, startTask } from "../harness/task.js";

const fixture = useContainerd1();

const options = (fields: Partial<Options>) => ({
  typeUrl: "containerd.runc.v1.Options",
  value: Buffer.from(Options.encode(Options.fromPartial(fields)).finish()),
});
const runc = (ofRecord?: Partial<Options>) => ({
  runtime: { name: "io.containerd.runc.v2", options: ofRecord && options(ofRecord) },
});

/** A runtime that writes down how it is called. */
function recordingRuntime(name: string): { path: string; calls: () => string[] } {
  const path = join(fixture.daemon.dir, name);
  const log = `${path}.calls`;
  writeFileSync(path, `#!/bin/sh\necho "$@" >> ${log}\nexec ${findProgram("runc")} "$@"\n`, { mode: 0o755 });
  return { path, calls: () => (existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : []) };
}

describe("options", () => {
  test.each(["io.containerd.runc.v2", "io.containerd.runc.v1"])("%s starts", async (name) => {
    const { daemon, api } = fixture;
    const record = { runtime: { name, options: undefined } };
    await using task = await startTask(daemon, api, { name: name.replaceAll(".", "-"), args: ["true"], record });
    expect(await task.exit()).toBe(0);
  });

  test.each([
    ["of the container", true],
    ["of the call", false],
  ])("%s: binary, root, cgroups by systemd, pivot, keyring", async (what, isRecords) => {
    const { daemon, api } = fixture;
    const name = `opt-${isRecords ? "record" : "call"}`;
    const { path, calls } = recordingRuntime(name);
    const root = join(daemon.dir, `${name}-root`);
    const asked = { binaryName: path, root, noPivotRoot: true, noNewKeyring: true };
    await using task = await startTask(daemon, api, {
      name,
      args: ["sleep", "100000"],
      record: isRecords ? runc(asked) : runc({ binaryName: "/nope/runc" }),
      request: isRecords ? {} : { options: options(asked) },
    });
    expect(statSync(join(root, api.namespace, task.id)).isDirectory(), what).toBe(true);
    const create = calls().find((line) => line.includes(" create "));
    expect(create).toContain(`--root ${join(root, api.namespace)} `);
    expect(create).toMatch(/ create .*--no-pivot/);
    expect(create).toMatch(/ create .*--no-new-keyring/);
    const exec = await task.exec({ execId: "e", args: ["true"] });
    await exec.start();
    expect(await exec.exit()).toBe(0);
    await task.kill();
    expect(await task.exit()).toBe(137);
    await task.delete();
    expect(existsSync(join(root, api.namespace, task.id))).toBe(false);
  });

  test("io_uid and io_gid own the pipes", async () => {
    const { daemon, api } = fixture;
    await using task = await startTask(daemon, api, {
      name: "io",
      args: ["sh", "-c", "stat -L -c %u:%g /proc/self/fd/1"],
      record: runc({ ioUid: 1234, ioGid: 2345 }),
      stdio: true,
    });
    // runc gives its process's own user what it writes to.
    expect((await task.output()).stdout).toBe("0:2345\n");
    expect(await task.exit()).toBe(0);
  });

  test.each([
    ["io.containerd.kata.v2", /runtime "io.containerd.kata.v2".*"?containerd-shim-kata-v2/],
    ["/usr/bin/nope-shim", /nope-shim/],
    ["foo", /runtime (name )?"?foo/],
  ])("runtime %s is not here", async (name, words) => {
    const { daemon, api } = fixture;
    const record = { runtime: { name, options: undefined } };
    const id = await createContainer(daemon, api, { name: "no-shim", args: ["true"], record });
    await expect(api.tasks.create({ containerId: id })).rejects.toMatchObject({
      // containerd tells all that goes wrong with a shim by one code.
      code: isDebians ? status.UNKNOWN : status.NOT_FOUND,
      details: expect.stringMatching(words),
    });
    await expect(api.tasks.get({ containerId: id })).rejects.toMatchObject({ code: status.NOT_FOUND });
    await api.containers.delete({ id });
  });

  test.each([
    ["of an unknown type", { typeUrl: "foo.Bar", value: Buffer.from("abc") }, /foo\.Bar/],
    ["that are damaged", { typeUrl: "containerd.runc.v1.Options", value: Buffer.from([0xff, 0xff]) }, /./],
  ])("options %s", async (_, bad, words) => {
    const { daemon, api } = fixture;
    const id = await createContainer(daemon, api, { name: "bad-options", args: ["true"] });
    await expect(api.tasks.create({ containerId: id, options: bad })).rejects.toMatchObject({
      code: isDebians ? status.UNKNOWN : status.INVALID_ARGUMENT,
      details: expect.stringMatching(words),
    });
    await expect(api.tasks.get({ containerId: id })).rejects.toMatchObject({ code: status.NOT_FOUND });
    await api.containers.delete({ id });
  });
});

describe("a start that fails", () => {
  test.each([
    [
      "nope",
      /^failed to create shim task: OCI runtime create failed: .*"nope": executable file not found in \$PATH: unknown$/,
    ],
    [
      "/nope",
      /^failed to create shim task: OCI runtime create failed: .*"\/nope": .*no such file or directory: unknown$/,
    ],
    [
      "/bin",
      /^failed to create shim task: OCI runtime create failed: .*"\/bin": (permission denied|is a directory).*: unknown$/,
    ],
  ])("of %s tells the runtime's words, and leaves nothing", async (command, words) => {
    const { daemon, api } = fixture;
    const id = await createContainer(daemon, api, { name: "fails", args: [command] });
    const failed = { code: status.UNKNOWN, details: expect.stringMatching(words) };
    await expect(api.tasks.create({ containerId: id })).rejects.toMatchObject(failed);
    await expect(api.tasks.get({ containerId: id })).rejects.toMatchObject({ code: status.NOT_FOUND });
    await api.containers.delete({ id });
  });

  test.each([
    ["nope", /^OCI runtime exec failed: .*"nope": executable file not found in \$PATH: unknown$/],
    ["/nope", /^OCI runtime exec failed: .*"\/nope": .*no such file or directory: unknown$/],
    ["/bin", /^OCI runtime exec failed: .*"\/bin": (permission denied|is a directory).*: unknown$/],
  ])("an exec of %s", async (command, words) => {
    const { daemon, api } = fixture;
    await using task = await startTask(daemon, api, { name: "fails-exec", args: ["sleep", "100000"] });
    const exec = await task.exec({ execId: "e", args: [command] });
    await expect(exec.start()).rejects.toMatchObject({
      code: status.UNKNOWN,
      details: expect.stringMatching(words),
    });
  });

  test.each([
    [
      "nope-runtime",
      /OCI runtime create failed: .*exec: "nope-runtime": executable file not found in \$PATH: unknown$/,
    ],
    ["/nope/runc", /OCI runtime create failed: .*"?\/nope\/runc"?: no such file or directory: unknown$/],
    ["/etc/passwd", /OCI runtime create failed: .*"?\/etc\/passwd"?: permission denied: unknown$/],
  ])("for want of the runtime %s", async (binaryName, words) => {
    const { daemon, api } = fixture;
    const record = runc({ binaryName });
    await expect(createTask(daemon, api, { name: "no-runtime", args: ["true"], record })).rejects.toMatchObject({
      code: status.UNKNOWN,
      details: expect.stringMatching(words),
    });
  });
});
