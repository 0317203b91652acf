import { isAbsolute, join } from "node:path";
import type { Any, ContainerRecord } from "../../../core/containers/container-record.js";
import { Failure, refusal } from "../../../core/failure/failure.js";
import type { IoOwner } from "../../../core/tasks/task.js";
import { CreateOptions, RuncOptions } from "../../../proto/containerd/linux/runc.js";
import { Options } from "../../../proto/containerd/types/runc/options/oci.js";
import { Options as AnyRuntimesOptions } from "../../../proto/containerd/types/runtimeoptions/v1/api.js";
import { optionsOfToml } from "./runtime-options-toml.js";

/** What is asked of the runtime of a task. */
export interface RuntimeOptions {
  /** Name or path; "": the daemon's. */
  runtime: string;
  /** What goes before every subcommand, after the daemon's own arguments when the runtime is the daemon's. */
  runtimeArgs: readonly string[];
  noPivotRoot: boolean;
  noNewKeyring: boolean;
  /** Whom its pipes belong to; undefined: the container's root. */
  ioOwner: IoOwner | undefined;
  /** The directory of the checkpoint that the task is restored from; "": none. */
  checkpoint: string;
}

/** What clients call the one shim that there is, with the runtime that it runs: those of containerd 1.0 to 1.3, too. */
const RUNTIMES = new Set(["io.containerd.runc.v2", "io.containerd.runc.v1", "io.containerd.runtime.v1.linux"]);

/** The names of shims: `io.containerd.NAME.vN`, for a program `containerd-shim-NAME-vN`. */
const SHIM = /^(?:.+\.)?([^.]+)\.([^.]+)$/;

/**
 * What a container's record and the call that makes its task say of the runtime. Options of the call are there instead of the record's, as
 * in containerd 1.6; those of containerd 1.0 to 1.3 say other things, and stand beside them.
 * @param rootArgs what a runtime gets in this namespace when nobody names a root
 * @throws Failure: not-found for a runtime that there is not here, invalid-argument for options that can't be read
 */
export function runtimeOptions(
  { runtime }: Pick<ContainerRecord, "runtime">,
  ofCall: Any | undefined,
  namespace: string,
  rootArgs: readonly string[],
): RuntimeOptions {
  checkRuntime(runtime.name);
  const options = optionsOf(runtime.options, ofCall);
  const { binaryName, root, criuPath, systemdCgroup, noPivotRoot, noNewKeyring, ioUid, ioGid } = options;
  if (binaryName.includes("/") && !isAbsolute(binaryName))
    throw refusal(`runtime ${JSON.stringify(binaryName)} is neither a name nor an absolute path`);
  if (root !== "" && !isAbsolute(root))
    throw refusal(`root ${JSON.stringify(root)} of the runtime is no absolute path`);
  return {
    runtime: binaryName,
    runtimeArgs: [
      ...(root === "" ? rootArgs : ["--root", join(root, namespace)]),
      ...(systemdCgroup ? ["--systemd-cgroup"] : []),
      ...(criuPath === "" ? [] : ["--criu", criuPath]),
    ],
    noPivotRoot,
    noNewKeyring,
    ioOwner: ioUid === 0 && ioGid === 0 ? undefined : { uid: ioUid, gid: ioGid },
    checkpoint: options.criuImagePath,
  };
}

function checkRuntime(name: string): void {
  if (RUNTIMES.has(name)) return;
  const [, shim, version] = SHIM.exec(name) ?? [];
  if (name.includes("/") || shim === undefined) {
    const others = [...RUNTIMES].join(", ");
    throw noRuntime(`runtime ${JSON.stringify(name)}: shims of others are not run here, only ${others}`);
  }
  throw noRuntime(`runtime ${JSON.stringify(name)}: shim "containerd-shim-${shim}-${version}" is not installed`);
}

function optionsOf(ofRecord: Any | undefined, ofCall: Any | undefined): Options {
  const call = read(ofCall);
  if (ofCall === undefined || ofCall.typeUrl === CREATE_OPTIONS) {
    return Options.fromPartial({ ...read(ofRecord), ...call });
  }
  return Options.fromPartial(call);
}

const OPTIONS = "containerd.runc.v1.Options";
const RUNC_OPTIONS = "containerd.linux.runc.RuncOptions";
const CREATE_OPTIONS = "containerd.linux.runc.CreateOptions";
/** Options of any runtime, as clients of Kubernetes have them; the second is the name before containerd 1.7. */
const ANY_RUNTIMES = ["runtimeoptions.v1.Options", "cri.runtimeoptions.v1.Options"];

function read(options: Any | undefined): Partial<Options> {
  if (options === undefined) return {};
  const { typeUrl, value } = options;
  try {
    if (ANY_RUNTIMES.includes(typeUrl)) return ofAnyRuntime(AnyRuntimesOptions.decode(value));
    switch (typeUrl) {
      // Some clients send an empty one.
      case "":
        return {};
      case OPTIONS:
        return Options.decode(value);
      case RUNC_OPTIONS: {
        const { runtime: binaryName, runtimeRoot: root, criuPath, systemdCgroup } = RuncOptions.decode(value);
        return { binaryName, root, criuPath, systemdCgroup };
      }
      case CREATE_OPTIONS: {
        const { noPivotRoot, noNewKeyring, ioUid, ioGid } = CreateOptions.decode(value);
        return { noPivotRoot, noNewKeyring, ioUid, ioGid };
      }
    }
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw refusal(`options of type ${JSON.stringify(typeUrl)} can't be read: ${(error as Error).message}`);
  }
  throw refusal(`options of type ${JSON.stringify(typeUrl)}, which is not known here`);
}

/** What they say in words that runc's have: a text of configuration, of the type of runc's options or of none. */
function ofAnyRuntime({ typeUrl, configPath, configBody }: AnyRuntimesOptions): Partial<Options> {
  if (typeUrl !== "" && typeUrl !== OPTIONS)
    throw refusal(
      `type_url ${JSON.stringify(typeUrl)} of the runtime's options: only ${JSON.stringify(OPTIONS)} is known here`,
    );
  // As in containerd, the text is there instead of the file.
  if (configBody.length > 0) return optionsOfToml(configBody.toString());
  if (configPath !== "") {
    const why = `runc has no file of configuration, name its options in config_body or by ${OPTIONS}`;
    throw refusal(`config_path ${JSON.stringify(configPath)} of the runtime's options: ${why}`);
  }
  return {};
}

function noRuntime(why: string): Failure {
  return new Failure("not-found", "refused", { why });
}
