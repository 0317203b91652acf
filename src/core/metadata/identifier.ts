import { refusal } from "../failure/failure.js";

const MAX_LENGTH = 76;
const FORM = /^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$/;

/**
 * Checks a name of a namespace, a container or an exec: one that is a path component, and a part of a host's or a systemd unit's name.
 * @param whose begins the error's text
 * @throws Failure (invalid-argument) that quotes it
 */
export function checkIdentifier(name: string, whose = ""): void {
  const fault = faultOf(name);
  if (fault !== undefined) throw refusal(`${whose}identifier ${fault}`);
}

/** Whether {@link checkIdentifier} takes it. */
export function isIdentifier(name: string): boolean {
  return faultOf(name) === undefined;
}

/** Control characters, and code points that are no characters. */
const UNPRINTABLE = /[\p{Cc}\p{Cn}\p{Cs}]/u;

/** Whether a name of any form has nothing in it that can't be shown, or be a part of a key of the store. */
export function isPrintable(name: string): boolean {
  return !UNPRINTABLE.test(name);
}

function faultOf(name: string): string | undefined {
  if (name === "") return "must not be empty";
  // A long one would make a long text.
  const shown = JSON.stringify(name.length > 2 * MAX_LENGTH ? `${name.slice(0, 2 * MAX_LENGTH)}…` : name);
  if (Buffer.byteLength(name) > MAX_LENGTH) return `${shown} greater than maximum length (${MAX_LENGTH} characters)`;
  return FORM.test(name) ? undefined : `${shown} must match ${FORM.source}`;
}
