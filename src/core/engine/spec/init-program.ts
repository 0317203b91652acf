import { closeSync, openSync, readSync } from "node:fs";
import { findProgramFile } from "../../../system/linux/spawn.js";
import { Failure } from "../../failure/failure.js";

/** Programs that reap what the processes of a container leave, and hand signals on; where Debian, Fedora and Docker put them. */
const NAMES = ["catatonit", "docker-init", "tini-static"];
const PATH = [
  process.env.PATH ?? "",
  "/usr/bin",
  "/usr/local/bin",
  "/usr/libexec/podman",
  "/usr/libexec/catatonit",
  "/usr/lib/podman",
  "/usr/libexec/docker",
  "/usr/local/libexec/docker",
].join(":");

/**
 * The program that a container with `init` begins with: one that needs nothing of the container's files.
 * @param path where to look
 * @throws Failure (failed-precondition) that says what to install
 */
export function findInit(path = PATH): string {
  for (const name of NAMES) {
    const file = findProgramFile(name, path)?.path;
    if (file !== undefined && isStatic(file)) return file;
  }
  const why =
    `no init program is installed, which containers with "init" (and idle ones) begin with: ` +
    `install catatonit, or tini (tini-static), or Docker's docker-init; looked for in ${path.split(":").filter(Boolean).join(", ")}`;
  throw new Failure("failed-precondition", "refused", { why });
}

const PT_INTERP = 3;
/** In bytes: as many as a linker puts the headers in. */
const HEAD = 4096;

/** Whether it is a program of this kind of machine (64 bit) that asks for no loader: in a container there may be none. */
function isStatic(file: string): boolean {
  const head = Buffer.alloc(HEAD);
  const fd = openSync(file, "r");
  try {
    readSync(fd, head, 0, HEAD, 0);
  } finally {
    closeSync(fd);
  }
  if (head.readUInt32BE(0) !== 0x7f454c46 || head[4] !== 2 || head[5] !== 1) return false;
  const [start, size, count] = [Number(head.readBigUInt64LE(32)), head.readUInt16LE(54), head.readUInt16LE(56)];
  for (let at = start; at < start + size * count; at += size)
    if (at + 4 > HEAD || head.readUInt32LE(at) === PT_INTERP) return false;
  return true;
}
