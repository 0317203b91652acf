import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client, ImageDetails, Spec } from "../../client/index.js";
import { attach } from "../containers/attach.js";
import { mountAll, unmount } from "../images/mount-program.js";
import { type RunFlags, specOfImage } from "./spec-of-image.js";

const SNAPSHOTTER = "overlayfs";
const RUNTIME = "io.containerd.runc.v2";
const SPEC = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
const KILL = 9;
/** In ms: how long a container whose ctr was told to end may take to be gone. */
const REMOVAL = 30_000;

export interface RunRequest {
  id: string;
  image: string;
  args: readonly string[];
  flags: RunFlags & { platform?: string };
  /** Ends it, and the container with it. */
  signal: AbortSignal;
}

/** Runs a container of an image to its end, connected with this process's stdio; nothing of it is left. @returns its exit status */
export async function runImage(client: Client, request: RunRequest): Promise<number> {
  const { id, image, args, flags, signal } = request;
  const { v1 } = client;
  const details = await imageHere(client, image, flags.platform);
  const undo: (() => Promise<unknown>)[] = [];
  const call = { signal };
  try {
    const { mounts } = await v1.snapshots
      .prepare({ snapshotter: SNAPSHOTTER, key: id, parent: details.chainId }, call)
      .catch((error: Error) => {
        throw explained(error, details, id);
      });
    undo.push(() => v1.snapshots.remove({ snapshotter: SNAPSHOTTER, key: id }, { timeout: REMOVAL }));
    const spec = await withMounted(mounts, (rootfs) => specOfImage(details, args, flags, id, rootfs));
    await v1.containers.create({ container: recordOf(details, id, spec) }, call);
    undo.push(() => v1.containers.delete({ id }, { timeout: REMOVAL }));
    return await runTask(client, id, mounts, flags.tty ?? false, signal, undo);
  } finally {
    const failures: unknown[] = [];
    for (const step of undo.reverse()) await step().catch((error: unknown) => failures.push(error));
    // What went wrong first is told; what could not be removed then may be of the same cause.
    if (failures.length > 0 && !signal.aborted) process.stderr.write(`[ctr] ${(failures[0] as Error).message}\n`);
  }
}

type Mounts = Parameters<typeof mountAll>[0];

async function runTask(
  client: Client,
  id: string,
  mounts: Mounts,
  terminal: boolean,
  signal: AbortSignal,
  undo: (() => Promise<unknown>)[],
): Promise<number> {
  const { tasks } = client.v1;
  const { createStdio } = await import("../../client/index.js");
  // One that has ended needs no end of its input.
  const closeStdin = () =>
    tasks.closeIo({ containerId: id, stdin: true }).then(
      () => {},
      () => {},
    );
  const stdio = createStdio({ terminal, closeStdin });
  undo.push(async () => stdio.close());
  const rootfs = mounts.map(({ type, source, options }) => ({ type, source, target: "", options }));
  await tasks.create({ containerId: id, rootfs, terminal, ...stdio.paths }, { signal });
  undo.push(async () => {
    // Where it has ended by itself there is nothing to kill.
    await tasks.kill({ containerId: id, signal: KILL }, { timeout: REMOVAL }).catch(() => {});
    await tasks.wait({ containerId: id }, { timeout: REMOVAL });
    await tasks.delete({ containerId: id }, { timeout: REMOVAL });
  });
  const exited = tasks.wait({ containerId: id }, { signal });
  exited.then(() => stdio.finish()).catch(() => {});
  const { columns: width, rows: height } = process.stdout;
  // Its first look at the terminal finds the size.
  if (terminal && process.stdout.isTTY) await tasks.resizePty({ containerId: id, width, height }, { signal });
  await tasks.start({ containerId: id }, { signal });
  const child = {
    stdin: stdio.stdin,
    stdout: stdio.stdout,
    stderr: stdio.stderr,
    wait: async () => ({ status: (await exited).exitStatus }),
    resize: async (width: number, height: number) => {
      await tasks.resizePty({ containerId: id, width, height });
    },
    detach: () => {},
  };
  return await attach(child, terminal, signal);
}

/** @throws Error that says how it gets here */
async function imageHere(client: Client, image: string, platform: string | undefined): Promise<ImageDetails> {
  try {
    return await client.images.inspect(image, { ...(platform !== undefined && { platform }) });
  } catch (error) {
    if (!(error as { isNotFound?: boolean }).isNotFound) throw error;
    const isThere = await client.images.get(image).then(
      () => true,
      () => false,
    );
    if (isThere) throw error;
    throw new Error(`image "${image}" is not here: type ctr images pull ${image}, or ctr images import FILE`, {
      cause: error,
    });
  }
}

function explained(error: Error, { name }: ImageDetails, id: string): Error {
  const { kind } = error as { kind?: string };
  if (kind === "id-in-use")
    return new Error(`the name "${id}" is taken: choose another with --name (${error.message})`, { cause: error });
  if (kind === "not-found")
    return new Error(
      `image ${name} was never unpacked for this platform: type ctr images pull ${name} (${error.message})`,
      {
        cause: error,
      },
    );
  return error;
}

/** A container's files, mounted for as long as `look` takes. */
async function withMounted<T>(mounts: Mounts, look: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "ctr-image-"));
  try {
    mountAll(mounts, directory);
    try {
      return await look(directory);
    } finally {
      unmount(directory);
    }
  } finally {
    rmdirSync(directory);
  }
}

function recordOf({ name }: ImageDetails, id: string, spec: Spec) {
  return {
    ...{ id, labels: {}, image: name, snapshotter: SNAPSHOTTER, snapshotKey: id, extensions: {}, sandbox: "" },
    runtime: { name: RUNTIME, options: undefined },
    spec: { typeUrl: SPEC, value: Buffer.from(JSON.stringify(spec)) },
    createdAt: undefined,
    updatedAt: undefined,
  };
}
