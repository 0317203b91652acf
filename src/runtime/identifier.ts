import { OperationError } from "./operation-error.js";

/** The longest name a Linux directory entry can have, in bytes. */
const NAME_MAX = 255;

/**
 * Checks an id that becomes a directory name: a single path component, and none that the file system or the state directory gives a meaning.
 * @throws OperationError (invalid-argument) that quotes it
 */
export function checkIdentifier(what: "container id" | "process id" | "checkpoint name", id: string): void {
  if (id === "") throw new OperationError("invalid-argument", `${what} cannot be empty`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused.
  if (id === "." || id === ".." || /[/\u0000-\u001f\u007f]/.test(id)) {
    throw new OperationError(
      "invalid-argument",
      `invalid ${what} ${JSON.stringify(id)}: must be a single path component`,
    );
  }
  if (Buffer.byteLength(id) > NAME_MAX) {
    throw new OperationError(
      "invalid-argument",
      `invalid ${what} ${JSON.stringify(id)}: longer than ${NAME_MAX} bytes`,
    );
  }
}
