import type { RE2JS } from "re2js";
import { goQuote } from "../../../contract/go/quote.js";
import { type Failure, refusal } from "../../../core/failure/failure.js";

/** In characters. */
const MAX_LENGTH = 1024;
/** In instructions: a match takes a time in proportion to this and to the text, and all else waits. */
const MAX_PROGRAM = 2000;

/** The library, loaded with the first expression. */
let loaded: Promise<typeof RE2JS> | undefined;

/**
 * A regular expression of a client, in Go's syntax, that is looked for anywhere in a text. It can't hang the daemon: there is no
 * backtracking, which for `(a+)+$` takes time exponential in the text's length.
 * @throws Failure (invalid-argument) for what is no expression, or too large a one
 */
export async function regularExpression(source: string): Promise<(text: string) => boolean> {
  if (source.length > MAX_LENGTH) throw refused(source, `longer than ${MAX_LENGTH} characters`);
  loaded ??= import("re2js").then(({ RE2JS }) => RE2JS);
  const Expression = await loaded;
  let expression: RE2JS;
  try {
    expression = Expression.compile(source);
  } catch (error) {
    throw refused(source, (error as Error).message.replace(/^error parsing regexp: /, ""));
  }
  if (expression.programSize() > MAX_PROGRAM) throw refused(source, "it repeats too much");
  return (text) => expression.test(text);
}

function refused(source: string, why: string): Failure {
  const shown = goQuote(source.length > MAX_LENGTH ? `${source.slice(0, MAX_LENGTH)}…` : source);
  return refusal(`filters: regular expression ${shown}: ${why}`);
}
