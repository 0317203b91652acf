import { Failure } from "../failure/failure.js";

/** The longest name a Linux directory entry can have, in bytes. */
const NAME_MAX = 255;

/**
 * Beginnings of the names of this daemon's own files, where an id becomes the name of a directory beside them; and of the directories by
 * which the daemon knows that a state directory is containerd 1.x's.
 */
const OWN_NAME = /^(events\.log|state\.json|cgroup\.json|containerd\.sock|\.partial-|io\.containerd\.)/;

type Kind = "container id" | "process id" | "checkpoint name";

/**
 * Checks an id that becomes a directory name: a single path component, and none that the file system or the state directory gives a
 * meaning.
 * @throws Failure (invalid-argument) that quotes it
 */
export function checkIdentifier(what: Kind, id: string): void {
  if (id === "") throw new Failure("invalid-argument", "missing-value", { name: what });
  const why = refusal(what, id);
  if (why !== undefined) throw new Failure("invalid-argument", "invalid-value", { name: what, value: id, why });
}

/** Whether {@link checkIdentifier} takes it: for an id that comes from a file, which may be damaged or another daemon's. */
export function isIdentifier(what: Kind, id: string): boolean {
  return id !== "" && refusal(what, id) === undefined;
}

function refusal(what: Kind, id: string): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused.
  if (id === "." || id === ".." || /[/\u0000-\u001f\u007f]/.test(id)) return "must be a single path component";
  if (Buffer.byteLength(id) > NAME_MAX) return `longer than ${NAME_MAX} bytes`;
  if (what !== "checkpoint name" && OWN_NAME.test(id)) return "names of this kind are the daemon's own";
  return undefined;
}
