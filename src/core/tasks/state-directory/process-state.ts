import type { ProcessJson } from "../../../contract/shim/process-json.js";
import type { OciProcess } from "../runtime/spec.js";
import { type ContainerState, isStrings, parseContainerState } from "./container-state.js";

/** What process.json holds: the OCI process's own fields and what the shim has to know besides. */
export interface ProcessState extends OciProcess, ProcessJson {
  /** Of an init: a second copy of state.json, should that be lost. */
  container?: ContainerState;
  /** Of an exec, in ms since the machine has booted: when it is to end. */
  endsAt?: number;
  /** Of an exec: nobody hears of it by events. */
  silent?: boolean;
}

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === "string";
const isFlag: Check = (value) => typeof value === "boolean";
const isId: Check = (value) => Number.isInteger(value) && 0 <= (value as number) && (value as number) <= 0xffffffff;
const isAmount: Check = (value) => typeof value === "bigint" || (Number.isSafeInteger(value) && (value as number) >= 0);

/** An object whose fields, as far as they are there and not null, are of their types. */
function isObject(value: unknown, checks: Record<string, Check>): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const fields = value as Record<string, unknown>;
  return Object.entries(checks).every(([name, check]) => (fields[name] ?? null) === null || check(fields[name]));
}

const sets = {
  bounding: isStrings,
  effective: isStrings,
  inheritable: isStrings,
  permitted: isStrings,
  ambient: isStrings,
};

const checks: Record<Exclude<keyof ProcessState, "container">, Check> = {
  terminal: isFlag,
  user: (value) =>
    isObject(value, { uid: isId, gid: isId, additionalGids: (ids) => Array.isArray(ids) && ids.every(isId) }),
  args: isStrings,
  env: isStrings,
  cwd: isText,
  capabilities: (value) => isStrings(value) || isObject(value, sets),
  rlimits: (value) =>
    Array.isArray(value) && value.every((limit) => isText(limit?.type) && isAmount(limit.soft) && isAmount(limit.hard)),
  noNewPrivileges: isFlag,
  apparmorProfile: isText,
  selinuxLabel: isText,
  exec: isFlag,
  containerdStdin: isText,
  containerdStdout: isText,
  containerdStderr: isText,
  stdio: (value) => isObject(value, {}),
  runtimeArgs: isStrings,
  noPivotRoot: isFlag,
  noNewKeyring: isFlag,
  runtimeDirectory: isText,
  checkpoint: isText,
  rootUID: isId,
  rootGID: isId,
  endsAt: (value) => Number.isFinite(value),
  silent: isFlag,
};

/** A field that is missing, or of another type than it should be, is as if nothing had been asked for. */
export function parseProcessState(value: unknown, exec: boolean): ProcessState {
  const fields = (value ?? {}) as Record<string, unknown>;
  const container = parseContainerState(fields.container);
  const known = Object.entries(checks).filter(([name, check]) => check(fields[name]));
  return {
    exec,
    containerdStdin: "",
    containerdStdout: "",
    containerdStderr: "",
    runtimeArgs: [],
    noPivotRoot: false,
    checkpoint: "",
    rootUID: 0,
    rootGID: 0,
    ...Object.fromEntries(known.map(([name]) => [name, fields[name]])),
    ...(container === undefined ? {} : { container }),
  };
}
