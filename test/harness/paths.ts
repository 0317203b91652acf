/** Where the parts are that tests run. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository. */
export const repository = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

/** The programs as they are built, and as a user would get them. */
export const daemonProgram = join(repository, "dist/bin/containerd.js");
export const shimProgram = join(repository, "dist/bin/containerd-shim");
export const netdProgram = join(repository, "dist/bin/containerd-netd");
export const ctrProgram = join(repository, "dist/bin/ctr.cjs");

/** Where `scripts/setup --tests` unpacks programs of Debian releases. */
const unpacked = "/var/cache/containerd-ts";

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The path of a program on the PATH (and in sbin), or undefined. */
export function findProgram(name: string): string | undefined {
  const directories = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return directories.map((directory) => join(directory, name)).find(executable);
}

/** Another release of Node, or undefined when it is the one that runs the tests or the set-up could not have it. */
export function nodeRelease(major: number): string | undefined {
  const path = join(unpacked, `node-${major}/bin/node`);
  return executable(path) ? path : undefined;
}

/** What `scripts/setup --tests` unpacks: the programs by the packages that bring them. */
const unpackedPackages = {
  criu: ["criu"],
  crun: ["crun"],
  "docker-registry": ["docker-registry"],
  "docker.io": ["containerd", "ctr", "docker", "dockerd"],
  podman: ["podman"],
} as const;
type UnpackedProgram = (typeof unpackedPackages)[keyof typeof unpackedPackages][number];

/** A privately unpacked program, or undefined when the set-up could not have it. */
export function unpackedProgram(name: UnpackedProgram): string | undefined {
  const found = Object.entries(unpackedPackages).find(([, programs]) => (programs as readonly string[]).includes(name));
  const path = join(unpacked, found![0], "bin", name);
  return executable(path) ? path : undefined;
}

/** Where a server of Debian is unpacked with all that it depends on, or undefined when the set-up could not have it. */
export function serverPackage(name: "redis-server" | "nginx"): string | undefined {
  return executable(join(unpacked, name, "bin", name)) ? join(unpacked, name, "root") : undefined;
}
