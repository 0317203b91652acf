import { Failure } from "../failure/failure.js";

const MAX_LENGTH = 76;
const FORM = /^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$/;

/**
 * Checks a name of a namespace, a container or a lease: one that is a path component, a part of a host name and of a systemd unit.
 * @throws Failure (invalid-argument) that quotes it
 */
export function checkIdentifier(name: string): void {
  if (name === "") throw refused("identifier must not be empty");
  // Long ones would make a long text.
  const shown = JSON.stringify(name.length > 2 * MAX_LENGTH ? `${name.slice(0, 2 * MAX_LENGTH)}…` : name);
  if (Buffer.byteLength(name) > MAX_LENGTH)
    throw refused(`identifier ${shown} greater than maximum length (${MAX_LENGTH} characters)`);
  if (!FORM.test(name)) throw refused(`identifier ${shown} must match ${FORM.source}`);
}

function refused(why: string): Failure {
  return new Failure("invalid-argument", "refused", { why });
}
