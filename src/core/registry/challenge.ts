/** What a server wants to see before it answers: one entry of `WWW-Authenticate`. */
export interface Challenge {
  /** In lower case: `basic`, `bearer`. */
  scheme: string;
  /** Names in lower case. Where one is given twice, the first counts. */
  parameters: ReadonlyMap<string, string>;
}

const TOKEN = /[\w!#$%&'*+.^`|~-]+/y;
const PARAMETER = /\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([\w!#$%&'*+.^`|~:/-]+)(?!=))/sy;
const TOKEN68 = /\s*[\w.~+/-]+=*/y;
const SEPARATORS = /[\s,]*/y;

/** Reads a header `WWW-Authenticate` (RFC 9110, 11.6.1). What is no challenge ends it: the ones before count. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  let parameters: Map<string, string> | undefined;
  let at = 0;
  const match = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const found = pattern.exec(header);
    if (found !== null) at = pattern.lastIndex;
    return found;
  };
  for (;;) {
    match(SEPARATORS);
    const word = match(TOKEN)?.[0].toLowerCase();
    if (word === undefined) return challenges;
    // A name is of a parameter where a value follows; else it begins the next challenge.
    const value = parameters === undefined ? null : match(PARAMETER);
    if (value !== null) {
      const text = value[1]?.replace(/\\(.)/gs, "$1") ?? value[2]!;
      if (!parameters!.has(word)) parameters!.set(word, text);
      continue;
    }
    parameters = new Map();
    challenges.push({ scheme: word, parameters });
    // `Negotiate YWJj==` has one value without a name.
    const start = at;
    if (match(TOKEN68) !== null && /[^\s,]/.test(header.charAt(at))) at = start;
    else if (/^\s*=/.test(header.slice(at, at + 8))) at = start;
  }
}
