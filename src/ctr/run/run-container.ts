import type { Client, CreatedContainer, StartNewOptions } from "../../client/index.js";
import { attach } from "../containers/attach.js";
import { progressView } from "../images/progress.js";
import { containerOf, type RunFlags } from "./container-of-flags.js";

export interface RunRequest {
  client: Client;
  image: string;
  args: readonly string[];
  flags: RunFlags;
  /** Ends it, and the container with it. */
  signal: AbortSignal;
}

/** In ms: how long a container may take to be gone. */
const REMOVAL = 30_000;

/** Runs a container of an image to its end, connected with this process's stdio; nothing of it is left. @returns its exit status */
export async function runContainer(request: RunRequest): Promise<number> {
  const { client, flags, signal } = request;
  const tty = flags.tty ?? false;
  // One whose ctr is killed ends, too.
  const owned = client.address.startsWith("unix:");
  const container = await start(request, { tty, owned, stdio: "pipe" });
  try {
    return await attach(container.process!, tty, signal);
  } finally {
    await container.remove({ force: true, timeout: REMOVAL }).catch((error: Error) => {
      // Told to end, ctr has something else to say.
      if (!signal.aborted) process.stderr.write(`[ctr] ${error.message}\n`);
    });
  }
}

/** Starts a container of an image. @returns its id */
export async function startContainer(request: RunRequest): Promise<string> {
  const { tty = false, interactive = false, rm = false } = request.flags;
  return (await start(request, { tty, openStdin: interactive, autoRemove: rm })).id;
}

async function start(
  { client, image, args, flags, signal }: RunRequest,
  more: Partial<StartNewOptions>,
): Promise<CreatedContainer> {
  const view = flags.pull === "never" ? undefined : progressView({ quiet: !process.stderr.isTTY }, process.stderr);
  try {
    const container = await client.containers.start({
      ...containerOf(image, args, flags),
      ...more,
      ...(flags.name !== undefined && { name: flags.name }),
      ...(view && { onProgress: (event) => view.onProgress(event) }),
      signal,
    });
    for (const warning of container.warnings) process.stderr.write(`[ctr] ${warning}\n`);
    return container;
  } catch (error) {
    throw isMissing(error) && flags.pull === "never" ? notHere(image, error as Error) : error;
  } finally {
    view?.end();
  }
}

function isMissing(error: unknown): boolean {
  const { isNotFound, message = "" } = error as { isNotFound?: boolean; message?: string };
  return isNotFound === true && /image/.test(message);
}

function notHere(image: string, cause: Error): Error {
  return new Error(`image "${image}" is not here: type ctr images pull ${image}, or ctr images import FILE`, { cause });
}
