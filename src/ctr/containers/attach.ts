import type { v0 } from "../../client/index.js";
import { copyOutput } from "./copy-output.js";
import type { RawTerminal } from "./raw-terminal.js";

/** What of a process is connected. */
export interface Attachable extends Pick<v0.ContainerProcess, "stdin" | "stdout" | "stderr" | "resize" | "detach"> {
  wait(options: { signal: AbortSignal }): Promise<{ status: number }>;
}

/**
 * Connects this process's stdio with that of a process in a container until that ends; its status is returned once all
 * of its output has been written. Ends early with the signal's reason; the process in the container goes on then.
 * A daemon that is restarted meanwhile is waited for; the streams do not go through it.
 *
 * @param input whether it reads this process's stdin, which is left alone otherwise
 */
export async function attach(child: Attachable, terminal: boolean, signal: AbortSignal, input = true): Promise<number> {
  let raw: RawTerminal | undefined;
  if (terminal && process.stdin.isTTY) {
    const { RawTerminal } = await import("./raw-terminal.js");
    raw = new RawTerminal(process.stdin.fd);
  }
  const resize = () => {
    const size = raw?.size;
    // One that has just ended, or a daemon that is away: the size does not matter then.
    if (size) child.resize(size.columns, size.rows).catch(() => {});
  };
  try {
    if (raw) {
      process.on("SIGWINCH", resize);
      resize();
    }
    const copied = [copyOutput(child.stdout, process.stdout), copyOutput(child.stderr, process.stderr)];
    if (input) {
      // A stdin that cannot be read is as good as an empty one.
      process.stdin.once("error", () => child.stdin.end());
      child.stdin.on("error", () => process.stdin.unpipe(child.stdin));
      process.stdin.pipe(child.stdin);
    }
    const { status } = await child.wait({ signal });
    await untilAborted(Promise.all(copied), signal);
    return status;
  } catch (error) {
    // The cursor is somewhere in the program's output.
    if (raw) process.stderr.write("\n");
    throw (error as { code?: string }).code === "UNAVAILABLE" ? lost(error as Error, child) : error;
  } finally {
    process.off("SIGWINCH", resize);
    if (input) process.stdin.unpipe(child.stdin);
    raw?.restore();
    child.detach();
  }
}

/** The daemon did not come back. Streams do not need it: their end says what has become of the process. */
function lost(error: Error, child: Attachable): Error {
  const fate = child.stdout.readableEnded ? "has ended, its status is not known" : "goes on running, without ctr";
  return new Error(`${error.message}; the process ${fate}`, { cause: error });
}

function untilAborted(work: Promise<unknown>, signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    if (signal.aborted) reject(signal.reason);
    work.then(resolve, reject);
  });
}
