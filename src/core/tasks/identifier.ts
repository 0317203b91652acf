import { Failure } from "../failure/failure.js";

/** The longest name a Linux directory entry can have, in bytes. */
const NAME_MAX = 255;

/**
 * Beginnings of the names of this daemon's own files, where an id becomes the name of a directory beside them; and of the directories by
 * which the daemon knows that a state directory is containerd 1.x's.
 */
const OWN_NAME = /^(events\.log|state\.json|cgroup\.json|containerd\.sock|\.partial-|io\.containerd\.)/;

/**
 * Checks an id that becomes a directory name: a single path component, and none that the file system or the state directory gives a
 * meaning.
 * @throws Failure (invalid-argument) that quotes it
 */
export function checkIdentifier(what: "container id" | "process id" | "checkpoint name", id: string): void {
  if (id === "") throw new Failure("invalid-argument", "missing-value", { name: what });
  const refuse = (why: string) => new Failure("invalid-argument", "invalid-value", { name: what, value: id, why });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused.
  if (id === "." || id === ".." || /[/\u0000-\u001f\u007f]/.test(id)) throw refuse("must be a single path component");
  if (Buffer.byteLength(id) > NAME_MAX) throw refuse(`longer than ${NAME_MAX} bytes`);
  if (what !== "checkpoint name" && OWN_NAME.test(id)) throw refuse("names of this kind are the daemon's own");
}
