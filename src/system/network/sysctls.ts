import { closeSync, openSync, write } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { hasCode } from "../linux/libc.js";
import { inNetworkNamespace } from "./network-namespace.js";

const ROOT = "/proc/sys/net";
const writeTo = promisify(write);

/**
 * Sets a value of this process's own network namespace, unless it is that already.
 * @param name its path: `ipv4/ip_forward`; with any name of a device in it
 * @returns false when the kernel has none of that name
 * @throws a system error
 */
export async function setSysctl(name: string, value: string): Promise<boolean> {
  const known = await readSysctl(name);
  if (known === undefined) return false;
  if (known !== value) await writeFile(`${ROOT}/${name}`, value);
  return true;
}

/** Undefined when the kernel has none of that name. @throws a system error */
export async function readSysctl(name: string): Promise<string | undefined> {
  try {
    return (await readFile(`${ROOT}/${name}`, "utf8")).trim();
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

/**
 * Sets values of another network namespace; what the kernel has not is left out.
 * @param namespace a descriptor
 * @throws a system error
 */
export async function setSysctlsIn(namespace: number, values: Readonly<Record<string, string>>): Promise<void> {
  // A file of /proc/sys/net belongs to the namespace of who opens it; writing may wait for the kernel's locks.
  const files = inNetworkNamespace(namespace, () =>
    Object.entries(values).map(([name, value]) => openIfThere(name, value)),
  );
  try {
    for (const file of files) if (file !== undefined) await writeTo(file.fd, file.value);
  } finally {
    for (const file of files) if (file !== undefined) closeSync(file.fd);
  }
}

function openIfThere(name: string, value: string): { fd: number; value: string } | undefined {
  try {
    return { fd: openSync(`${ROOT}/${name}`, "w"), value };
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}
