import { writeFileSync } from "node:fs";
import { errorText } from "../linux/libc.js";
import { namesIn, readControlFile } from "./control-file.js";

/** What can be limited for each block device. Bytes or operations a second; weights as the kernel counts them. */
export type DeviceLimit = "readBps" | "writeBps" | "readIops" | "writeIops" | "weight" | "leafWeight";

/** For each limit its value by device, "major:minor"; 0n is no limit, or no weight of the device's own. */
export type DeviceLimits = { readonly [limit in DeviceLimit]?: ReadonlyMap<string, bigint> };

/** Where a limit is kept: in one of these files, whichever the kernel has, as `8:0 500` or, with a key, as `8:0 rbps=500 wbps=max`. */
interface Place {
  files: readonly string[];
  key?: string;
  /** What takes a limit away. */
  none: string;
}

type Places = Readonly<Partial<Record<DeviceLimit, Place>>>;

/** v1: blkio's files; the weights are BFQ's, or CFQ's (kernels before 5.0). */
export const PLACES_V1: Places = {
  readBps: { files: ["blkio.throttle.read_bps_device"], none: "0" },
  writeBps: { files: ["blkio.throttle.write_bps_device"], none: "0" },
  readIops: { files: ["blkio.throttle.read_iops_device"], none: "0" },
  writeIops: { files: ["blkio.throttle.write_iops_device"], none: "0" },
  weight: { files: ["blkio.weight_device", "blkio.bfq.weight_device"], none: "0" },
  leafWeight: { files: ["blkio.leaf_weight_device"], none: "0" },
};

/** v2: io's files; it has no leaf weights. */
export const PLACES_V2: Places = {
  readBps: { files: ["io.max"], key: "rbps", none: "max" },
  writeBps: { files: ["io.max"], key: "wbps", none: "max" },
  readIops: { files: ["io.max"], key: "riops", none: "max" },
  writeIops: { files: ["io.max"], key: "wiops", none: "max" },
  weight: { files: ["io.weight", "io.bfq.weight"], none: "default" },
};

/** The limits of a cgroup as they are. Devices without one are not named. */
export function readDeviceLimits(directory: string, places: Places): DeviceLimits {
  const limits: { [limit in DeviceLimit]?: ReadonlyMap<string, bigint> } = {};
  for (const [limit, { files, key }] of Object.entries(places) as [DeviceLimit, Place][]) {
    for (const file of files) {
      const text = readControlFile(directory, file);
      if (text === undefined) continue;
      limits[limit] = parseDeviceLimits(text, key);
      break;
    }
  }
  return limits;
}

/** What to set for `now` to become `before` again: devices that had no limit then get none. */
export function limitsBack(before: DeviceLimits, now: DeviceLimits): DeviceLimits {
  const limits: { [limit in DeviceLimit]?: ReadonlyMap<string, bigint> } = {};
  for (const [limit, values] of Object.entries(now) as [DeviceLimit, ReadonlyMap<string, bigint>][]) {
    const unlimited = [...values.keys()].map((device) => [device, 0n] as const);
    limits[limit] = new Map([...unlimited, ...(before[limit] ?? [])]);
  }
  return limits;
}

/** Lines of `8:0 500`, or with a key of `8:0 rbps=500 wbps=max`; others (`default 100`) are no device's. */
export function parseDeviceLimits(text: string, key?: string): Map<string, bigint> {
  const limits = new Map<string, bigint>();
  for (const line of text.split("\n")) {
    const [device = "", ...words] = line.split(" ");
    if (!/^\d+:\d+$/.test(device)) continue;
    const value =
      key === undefined ? words[0] : words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1);
    if (value !== undefined && /^\d+$/.test(value)) limits.set(device, BigInt(value));
  }
  return limits;
}

/**
 * Sets the limits that are named, and only those that differ from what is.
 * @throws Error that names limit and device when the kernel refuses: no such device, a controller that is not on, a device whose scheduler
 * knows no weights
 */
export function writeDeviceLimits(directory: string, places: Places, limits: DeviceLimits): void {
  const now = readDeviceLimits(directory, places);
  for (const [limit, values] of Object.entries(limits) as [DeviceLimit, ReadonlyMap<string, bigint>][]) {
    for (const [device, value] of values) {
      if ((now[limit]?.get(device) ?? 0n) === value && now[limit] !== undefined) continue;
      const place = places[limit];
      const text = value === 0n ? (place?.none ?? "") : String(value);
      write(directory, limit, device, place, place?.key === undefined ? text : `${place.key}=${text}`);
    }
  }
}

function write(directory: string, limit: DeviceLimit, device: string, place: Place | undefined, text: string): void {
  const present = namesIn(directory);
  const file = place?.files.find((name) => present.has(name));
  if (file === undefined) throw new Error(`${limit} of device ${device}: this kernel has no such limit`);
  try {
    // Opened for writing only if it is there.
    writeFileSync(`${directory}/${file}`, `${device} ${text}`, { flag: "r+" });
  } catch (error) {
    throw new Error(`${limit} of device ${device}: ${errorText(error)}`, { cause: error });
  }
}
