import { goQuote } from "../../../contract/go/quote.js";
import { refusal } from "../../../core/failure/failure.js";
import { scanQuoted, unquote } from "./quoted.js";

/** One condition of a filter: a field of an object, and what it has to be. */
export interface Selector {
  path: readonly string[];
  /** `present`: whether it is set. */
  operator: "present" | "==" | "!=" | "~=";
  /** "" for `present`. */
  value: string;
}

/** In characters: of one filter. */
const MAX_LENGTH = 64 * 1024;

const SPACE = /\s*/y;
const NAME = /[-_A-Za-z0-9]+/y;
const OPERATOR = /[=!~]+/y;
/** Up to a comma, a space, or what is not printed. */
const VALUE = /[^\s,\p{Cc}\p{Cs}\p{Cn}]+/uy;
/** Where no value begins: quotes apart, which are looked for before. */
const NO_VALUE = /[.,=!~]/y;

/**
 * Reads a filter of containerd 1.x: `id==x,labels."a.b"~=^c` asks for all of its selectors, which are separated by commas.
 * @returns none for the empty text: everything passes that
 * @throws Failure (invalid-argument) that shows where the text is wrong
 */
export function parseFilter(text: string): Selector[] {
  if (text.length > MAX_LENGTH) throw refusal(`filters: longer than ${MAX_LENGTH} characters`);
  return text === "" ? [] : new Parser(text).selectors();
}

class Parser {
  readonly #input: string;
  #position = 0;

  constructor(input: string) {
    this.#input = input;
  }

  selectors(): Selector[] {
    const all = [this.#selector()];
    while (this.#next === ",") {
      this.#position++;
      all.push(this.#selector());
    }
    if (this.#next !== undefined) this.#fail(`unexpected input: ${this.#next}`);
    return all;
  }

  #selector(): Selector {
    const path = [this.#field()];
    while (this.#next === ".") {
      this.#position++;
      path.push(this.#field());
    }
    if (this.#next === undefined || this.#next === ",") return { path, operator: "present", value: "" };
    const operator = this.#operator();
    return { path, operator, value: this.#value(operator) };
  }

  #field(): string {
    this.#scan(SPACE);
    return this.#scan(NAME) ?? this.#quoted('"') ?? this.#fail("expected field or quoted");
  }

  #operator(): "==" | "!=" | "~=" {
    this.#scan(SPACE);
    const start = this.#position;
    const operator = this.#scan(OPERATOR) ?? this.#fail('expected an operator ("=="|"!="|"~=")');
    if (operator === "==" || operator === "!=" || operator === "~=") return operator;
    return this.#fail(`unsupported operator ${goQuote(operator)}`, start);
  }

  /** A regular expression may also be quoted with `/` or `|`, which have no meaning in one. */
  #value(operator: "==" | "!=" | "~="): string {
    this.#scan(SPACE);
    const quoted = this.#quoted(operator === "~=" ? '"/|' : '"');
    if (quoted !== undefined) return quoted;
    NO_VALUE.lastIndex = this.#position;
    if (NO_VALUE.test(this.#input)) this.#fail("expected value or quoted");
    return this.#scan(VALUE) ?? this.#fail("expected value or quoted");
  }

  /** @returns undefined when no quotation begins here */
  #quoted(allowed: string): string | undefined {
    const start = this.#position;
    if (this.#next === undefined || !'"/|'.includes(this.#next)) return undefined;
    const quoted = scanQuoted(this.#input, start);
    if (quoted === undefined) return this.#fail("quoted literal not terminated");
    if (!allowed.includes(quoted[0]!)) return this.#fail("invalid quote encountered");
    this.#position += quoted.length;
    return unquote(quoted) ?? this.#fail("illegal escape sequence", start);
  }

  get #next(): string | undefined {
    const code = this.#input.codePointAt(this.#position);
    return code === undefined ? undefined : String.fromCodePoint(code);
  }

  #scan(token: RegExp): string | undefined {
    token.lastIndex = this.#position;
    const found = token.exec(this.#input)?.[0];
    this.#position += found?.length ?? 0;
    return found;
  }

  /** In containerd's words. */
  #fail(why: string, position = this.#position): never {
    const input = this.#input;
    const before = input.slice(0, position);
    const shown = position < input.length ? `${before} >|${input[position]}|< ${input.slice(position + 1)}` : before;
    throw refusal(`filters: parse error: [${shown}]: ${why}`);
  }
}
