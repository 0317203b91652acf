import { libc } from "./libc.js";

const exit = libc.func("void _exit(int status)");

/**
 * Ends this process at once. `process.exit` would first wait for the threads of Node's pool, and one of them may be held up for ever: by a
 * pipe that nobody reads, by a file system that does not answer.
 */
export function exitNow(code: number): never {
  exit(code);
  throw new Error("_exit has returned");
}
