import { posix } from "node:path";
import type { DeviceMapping } from "../container-config.js";
import type { HostDevice, HostFacts } from "./host-facts.js";
import { absolutePath, invalidOption } from "./invalid-option.js";
import type { OciDevice, OciDeviceRule, OciMount } from "./oci-spec.js";

/** What a container has of devices, beside those that every container has: the runtime sees to these. */
export interface Devices {
  devices: OciDevice[];
  rules: OciDeviceRule[];
  /** In a user namespace nobody makes devices: there the host's are mounted. */
  mounts: OciMount[];
}

interface DeviceWishes {
  devices: readonly DeviceMapping[];
  privileged: boolean;
}

/** @param inUserNamespace of its own. @throws Failure (invalid-argument) */
export function devicesOf(
  { devices, privileged }: DeviceWishes,
  host: Pick<HostFacts, "devices">,
  inUserNamespace: boolean,
): Devices {
  const given = devices.flatMap((mapping, index) => mapped(`devices[${index}]`, mapping, host));
  const all = privileged ? [...hostDevices(host, given), ...given] : given;
  const places = new Set<string>();
  for (const [index, { place }] of given.entries()) {
    if (places.has(place)) throw invalidOption(`devices[${index}]`, place, "two devices can't be at the same place");
    places.add(place);
  }
  return {
    devices: inUserNamespace ? [] : all.map(({ place, device }) => ociDevice(place, device)),
    mounts: inUserNamespace ? all.map(({ place, device }) => deviceMount(place, device)) : [],
    rules: privileged
      ? [{ allow: true, access: "rwm" }]
      : [
          { allow: false, access: "rwm" },
          ...given.map(({ device: { type, major, minor }, access }) => ({ allow: true, type, major, minor, access })),
        ],
  };
}

interface Placed {
  place: string;
  device: HostDevice;
  access: string;
}

function hostDevices(host: Pick<HostFacts, "devices">, given: readonly Placed[]): Placed[] {
  return (host.devices.get("/dev") ?? [])
    .filter(({ path }) => given.every(({ place }) => place !== path))
    .map((device) => ({ place: device.path, device, access: "rwm" }));
}

function mapped(
  option: string,
  { source, destination, permissions }: DeviceMapping,
  host: Pick<HostFacts, "devices">,
): Placed[] {
  const from = absolutePath(`${option}.source`, source);
  const to = destination === "" ? from : absolutePath(`${option}.destination`, destination);
  if (to === "/") throw invalidOption(`${option}.destination`, destination, "it must be a place for a file");
  const access = accessOf(`${option}.permissions`, permissions);
  const found = host.devices.get(source) ?? [];
  if (found.length === 0) throw invalidOption(`${option}.source`, source, "there is no such device on this host");
  return found.map((device) => ({ place: posix.join(to, posix.relative(source, device.path)), device, access }));
}

/** In the order in which runtimes know them. @throws Failure (invalid-argument) */
function accessOf(option: string, permissions: string): string {
  if (!/^[rwm]*$/.test(permissions))
    throw invalidOption(option, permissions, "it must be of r (read), w (write) and m (make)");
  return permissions === "" ? "rwm" : [..."rwm"].filter((letter) => permissions.includes(letter)).join("");
}

function ociDevice(path: string, { type, major, minor, mode, uid, gid }: HostDevice): OciDevice {
  return { path, type, major, minor, fileMode: mode, uid, gid };
}

function deviceMount(destination: string, { path }: HostDevice): OciMount {
  return { destination, type: "bind", source: path, options: ["bind", "rprivate"] };
}

/** `c 13:* rwm` */
const RULE = /^([abc]) (\d{1,7}|\*):(\d{1,7}|\*) ([rwm]{1,3})$/;

/** @throws Failure (invalid-argument) */
export function deviceRules(rules: readonly string[]): OciDeviceRule[] {
  return rules.map((rule, index) => {
    const [, type, major, minor, access] = RULE.exec(rule) ?? [];
    if (type === undefined) {
      const allowed =
        "it must be like c 13:* rwm: a (all), b (block) or c (character), numbers or *, then of r, w and m";
      throw invalidOption(`resources.deviceCgroupRules[${index}]`, rule, allowed);
    }
    // What is not said stands for every number.
    const number = (name: "major" | "minor", text = "*") => (text === "*" ? {} : { [name]: Number(text) });
    return { allow: true, type, ...number("major", major), ...number("minor", minor), access: access! };
  });
}
