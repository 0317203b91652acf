import { expect, test } from "vitest";
import type { Any } from "../../../core/containers/container-record.js";
import { CreateOptions, RuncOptions } from "../../../proto/containerd/linux/runc.js";
import { Options } from "../../../proto/containerd/types/runc/options/oci.js";
import { Options as AnyRuntimesOptions } from "../../../proto/containerd/types/runtimeoptions/v1/api.js";
import { runtimeOptions } from "./runtime-options.js";

const any = (typeUrl: string, value: Uint8Array): Any => ({ typeUrl, value: Buffer.from(value) });
const options = (fields: Partial<Options>) =>
  any("containerd.runc.v1.Options", Options.encode(Options.fromPartial(fields)).finish());
const runcOptions = (fields: Partial<RuncOptions>) =>
  any("containerd.linux.runc.RuncOptions", RuncOptions.encode(RuncOptions.fromPartial(fields)).finish());
const createOptions = (fields: Partial<CreateOptions>) =>
  any("containerd.linux.runc.CreateOptions", CreateOptions.encode(CreateOptions.fromPartial(fields)).finish());
const ofAnyRuntime = (fields: Partial<AnyRuntimesOptions>, type = "runtimeoptions.v1.Options") =>
  any(type, AnyRuntimesOptions.encode(AnyRuntimesOptions.fromPartial(fields)).finish());
const toml = (text: string) => ofAnyRuntime({ configBody: Buffer.from(text) });

const V2 = "io.containerd.runc.v2";
const of = (ofRecord?: Any, ofCall?: Any, name = V2) =>
  runtimeOptions({ runtime: { name, options: ofRecord } }, ofCall, "moby", ["--root", "/run/own/moby"]);

const NOTHING = {
  runtime: "",
  runtimeArgs: ["--root", "/run/own/moby"],
  noPivotRoot: false,
  noNewKeyring: false,
  ioOwner: undefined,
  checkpoint: "",
};

test.each([V2, "io.containerd.runc.v1", "io.containerd.runtime.v1.linux"])("%s is the daemon's runtime", (name) => {
  expect(of(undefined, undefined, name)).toEqual(NOTHING);
  expect(of(any("", Buffer.alloc(0)), any("", Buffer.alloc(0)), name)).toEqual(NOTHING);
});

test("all that there is of options", () => {
  const all = options({
    binaryName: "crun",
    root: "/run/docker/runtime-runc",
    systemdCgroup: true,
    criuPath: "/opt/criu",
    noPivotRoot: true,
    noNewKeyring: true,
    ioUid: 7,
    ioGid: 8,
    criuImagePath: "/saved",
  });
  const expected = {
    runtime: "crun",
    runtimeArgs: ["--root", "/run/docker/runtime-runc/moby", "--systemd-cgroup", "--criu", "/opt/criu"],
    noPivotRoot: true,
    noNewKeyring: true,
    ioOwner: { uid: 7, gid: 8 },
    checkpoint: "/saved",
  };
  expect(of(all)).toEqual(expected);
  expect(of(undefined, all)).toEqual(expected);
});

test("options of the call are there instead of those of the record, also when they say nothing", () => {
  expect(of(options({ binaryName: "/opt/runc" }), options({ root: "/r" }))).toMatchObject({
    runtime: "",
    runtimeArgs: ["--root", "/r/moby"],
  });
  expect(of(options({ binaryName: "/opt/runc" }), options({}))).toEqual(NOTHING);
});

test("options of clients of containerd 1.0 to 1.3: the record has the runtime's, the call the container's", () => {
  const record = runcOptions({ runtime: "/opt/runc", runtimeRoot: "/r", criuPath: "/opt/criu", systemdCgroup: true });
  const linux = "io.containerd.runtime.v1.linux";
  expect(of(record, createOptions({ noPivotRoot: true, noNewKeyring: true, ioUid: 7 }), linux)).toEqual({
    ...NOTHING,
    runtime: "/opt/runc",
    runtimeArgs: ["--root", "/r/moby", "--systemd-cgroup", "--criu", "/opt/criu"],
    noPivotRoot: true,
    noNewKeyring: true,
    ioOwner: { uid: 7, gid: 0 },
  });
});

test("options of any runtime, where they say what runc's say", () => {
  const all = `BinaryName = "crun"
Root = "/run/docker/runtime-runc"
SystemdCgroup = true
NoPivotRoot = true
NoNewKeyring = true
CriuPath = "/opt/criu"
CriuImagePath = "/saved"
IoUid = 7
IoGid = 8`;
  const expected = {
    runtime: "crun",
    runtimeArgs: ["--root", "/run/docker/runtime-runc/moby", "--systemd-cgroup", "--criu", "/opt/criu"],
    noPivotRoot: true,
    noNewKeyring: true,
    ioOwner: { uid: 7, gid: 8 },
    checkpoint: "/saved",
  };
  expect(of(toml(all))).toEqual(expected);
  expect(of(undefined, toml(all))).toEqual(expected);
  const typed = { typeUrl: "containerd.runc.v1.Options", configPath: "/instead", configBody: Buffer.from(all) };
  for (const type of ["runtimeoptions.v1.Options", "cri.runtimeoptions.v1.Options"])
    expect(of(ofAnyRuntime(typed, type))).toEqual(expected);
  expect(of(ofAnyRuntime({}))).toEqual(NOTHING);
});

test.each([
  ["io.containerd.kata.v2", 'runtime "io.containerd.kata.v2": shim "containerd-shim-kata-v2" is not installed'],
  ["io.containerd.runsc.v1", 'runtime "io.containerd.runsc.v1": shim "containerd-shim-runsc-v1" is not installed'],
  ["/usr/bin/kata-shim", 'runtime "/usr/bin/kata-shim": shims of others are not run here'],
  ["../x.y", 'runtime "../x.y": shims of others are not run here'],
  ["foo", 'runtime "foo": shims of others are not run here'],
  ["", 'runtime "": shims of others are not run here'],
])("runtime %j is not here", (name, words) => {
  expect(() => of(undefined, undefined, name)).toThrow(
    expect.objectContaining({ kind: "not-found", message: expect.stringContaining(words) }),
  );
});

test.each<[string, Any, string]>([
  ["of an unknown type", any("foo.Bar", Buffer.from("abc")), 'options of type "foo.Bar", which is not known here'],
  ["that are damaged", any("containerd.runc.v1.Options", Buffer.from([0xff, 0xff])), "can't be read"],
  ["with a relative runtime", options({ binaryName: "../runc" }), 'runtime "../runc" is neither a name nor'],
  ["of another runtime", ofAnyRuntime({ typeUrl: "io.containerd.runsc.v1.options" }), 'type_url "io.containerd.runsc'],
  ["in a file", ofAnyRuntime({ configPath: "/etc/runc.toml" }), 'config_path "/etc/runc.toml"'],
  ["that are no TOML", toml("{nope"), "can't be read"],
  ["that runc does not have", toml("[runsc]\nx = 1"), '"runsc" is no option of runc\'s'],
  ["named like an object's own", toml("__proto__ = 1"), "__proto__"],
  [
    "of another kind",
    toml('SystemdCgroup = "yes"'),
    'SystemdCgroup = "yes" of the runtime\'s options has to be a boolean',
  ],
  ["with a user that can't be", toml("IoUid = -1"), "IoUid = -1 of the runtime's options has to be a user or group id"],
  ["of any runtime that are damaged", any("runtimeoptions.v1.Options", Buffer.from([0xff, 0xff])), "can't be read"],
  ["with a relative root", options({ root: "r" }), 'root "r" of the runtime is no absolute path'],
])("options %s are refused", (_, bad, words) => {
  for (const tried of [() => of(bad), () => of(undefined, bad)])
    expect(tried).toThrow(
      expect.objectContaining({ kind: "invalid-argument", message: expect.stringContaining(words) }),
    );
});
