import { constants, openSync } from "node:fs";
import { ContainerFiles, type PutOptions } from "../../../src/core/engine/files/container-files.js";
import type { Root } from "../../../src/core/engine/files/root.js";
import type { IdMaps } from "../../../src/core/files/file-owners.js";

const O_PATH = 0o10000000;
const NEVER = new AbortController().signal;

/** A directory as the root file system of a container. */
export function rootAt(directory: string, idMaps?: IdMaps, user = { uid: 0, gid: 0 }): Root {
  return { key: directory, idMaps, user, open: async () => openSync(directory, O_PATH | constants.O_DIRECTORY) };
}

/** In pieces of so many bytes. */
export async function* inPieces(data: Buffer, size = 1 << 16): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size);
}

export const files = new ContainerFiles();

const DEFAULTS: PutOptions = { keepKinds: false, keepOwners: true };

export async function put(root: Root, path: string, data: Buffer, options: Partial<PutOptions> = {}): Promise<void> {
  await files.put(root, path, inPieces(data), { ...DEFAULTS, ...options }, NEVER);
}

export async function get(root: Root, path: string, followLink = false): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of files.get(root, path, followLink, NEVER)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Fails with what it says, whatever it is. */
export async function failureOf(promise: Promise<unknown>): Promise<Error & { kind?: string }> {
  return await promise.then(
    () => {
      throw new Error("it has not failed");
    },
    (error: Error) => error,
  );
}
