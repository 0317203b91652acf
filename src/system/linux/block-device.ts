import { readlinkSync } from "node:fs";
import { basename } from "node:path";

/** The `/dev/sda` of 8:0, as the kernel calls it; "" for one that is not there (any more). */
export function blockDeviceName(major: number, minor: number): string {
  try {
    return `/dev/${basename(readlinkSync(`/sys/dev/block/${major}:${minor}`))}`;
  } catch {
    return "";
  }
}
