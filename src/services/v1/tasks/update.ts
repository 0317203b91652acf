import { refusal } from "../../../core/failure/failure.js";
import { update as updateTask } from "../../../core/tasks/operations/update.js";
import type { OciResources } from "../../../core/tasks/runtime/resources.js";
import type { UpdateTaskRequest } from "../../../proto/containerd/services/tasks/v1/tasks.js";
import type { Any } from "../../../proto/google/protobuf/any.js";
import type { NamespacedCall } from "../front.js";
import type { TaskCalls } from "../tasks.js";
import { isObject, jsonObject } from "./json-object.js";
import { nameOf } from "./names.js";

/** Changes limits; what is zero or empty stays as it is. */
export async function update({ tasks }: TaskCalls, call: NamespacedCall<UpdateTaskRequest>): Promise<object> {
  const resources = resourcesOf(call.request.resources);
  await updateTask(tasks, { ...nameOf(call), kind: "update", resources }, call.signal);
  return {};
}

const TYPE = /^types\.containerd\.io\/opencontainers\/runtime-spec\/\d+\/LinuxResources$/;

/** The limits of the OCI runtime-spec that are numbers, and those that are texts. */
const NUMBERS: Readonly<Record<string, readonly string[]>> = {
  memory: ["limit", "reservation", "swap", "kernel", "kernelTCP", "swappiness"],
  cpu: ["shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod", "idle"],
  pids: ["limit"],
  blockIO: ["weight", "leafWeight"],
};
const TEXTS: Readonly<Record<string, readonly string[]>> = { cpu: ["cpus", "mems"] };
const DEVICES = [
  ...["weightDevice", "throttleReadBpsDevice", "throttleWriteBpsDevice"],
  ...["throttleReadIOPSDevice", "throttleWriteIOPSDevice"],
];

/** @throws Failure (invalid-argument) */
function resourcesOf(resources: Any | undefined): OciResources {
  if (resources === undefined) throw refusal("no resources are given");
  const { typeUrl, value } = resources;
  if (!TYPE.test(typeUrl)) throw refusal(`resources of type ${JSON.stringify(typeUrl)}, which is not known here`);
  const given = jsonObject("resources", value);
  for (const part of Object.keys(NUMBERS)) {
    if (given[part] === undefined || given[part] === null) delete given[part];
    else given[part] = partOf(part, objectOf(part, given[part]));
  }
  return given as OciResources;
}

function partOf(part: string, fields: Record<string, unknown>): Record<string, unknown> | undefined {
  const check = (names: readonly string[] = [], isFit: (value: unknown) => boolean, what: string) => {
    for (const name of names) {
      const value = fields[name];
      if (value === undefined || value === null || value === 0 || value === "") delete fields[name];
      else if (!isFit(value)) throw refusal(`resources: ${part}.${name} is not ${what}`);
    }
  };
  check(NUMBERS[part], (value) => Number.isSafeInteger(value) || typeof value === "bigint", "a whole number");
  check(TEXTS[part], (value) => typeof value === "string", "a text");
  if (part === "blockIO") check(DEVICES, isDevices, "a list of devices with their numbers");
  return Object.keys(fields).length > 0 ? fields : undefined;
}

function isDevices(value: unknown): boolean {
  const isNumber = (number: unknown) => Number.isSafeInteger(number) || typeof number === "bigint";
  return (
    Array.isArray(value) &&
    value.every(
      (device) =>
        isObject(device) &&
        isNumber(device.major) &&
        isNumber(device.minor) &&
        [device.rate, device.weight, device.leafWeight].every((limit) => limit === undefined || isNumber(limit)),
    )
  );
}

function objectOf(part: string, value: unknown): Record<string, unknown> {
  if (isObject(value)) return value;
  throw refusal(`resources: ${part} is not a JSON object`);
}
