import { posix } from "node:path";
import { parseGoDuration } from "../../contract/go/duration.js";
import { refusal } from "../failure/failure.js";

/** The part of an image's config that says how containers are made of it, with the names that Docker and OCI have for its fields. */
export interface RunConfig {
  Entrypoint?: string[] | null;
  Cmd?: string[] | null;
  Env?: string[] | null;
  User?: string;
  WorkingDir?: string;
  StopSignal?: string;
  Labels?: Record<string, string> | null;
  ExposedPorts?: Record<string, object> | null;
  Volumes?: Record<string, object> | null;
  OnBuild?: string[] | null;
  Healthcheck?: object;
  [more: string]: unknown;
}

/** In characters: how much of a change an error quotes. */
const MAX_SHOWN = 200;
const SHELL = ["/bin/sh", "-c"];

/**
 * Changes a config as lines of a Dockerfile say: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME,
 * WORKDIR. `$NAME` and `${NAME}` are what the config's own environment has, as Docker's builder has them.
 * @throws Failure (invalid-argument) that quotes the line
 */
export function changedConfig(before: RunConfig, lines: readonly string[]): RunConfig {
  const config: RunConfig = { ...before };
  let isCmdGiven = false;
  for (const line of lines) {
    const [, name = "", rest = ""] = /^\s*([A-Za-z]+)(?:\s+([\s\S]*?))?\s*$/.exec(line) ?? [];
    const instruction = name.toUpperCase();
    const refuse = (why: string) => refusal(`change ${JSON.stringify(line.slice(0, MAX_SHOWN))}: ${why}`);
    const change = CHANGES.get(instruction);
    if (change === undefined) throw refuse(`it has to begin with one of ${[...CHANGES.keys()].join(", ")}`);
    if (rest === "" && instruction !== "CMD" && instruction !== "ENTRYPOINT") throw refuse("it says nothing");
    if (line.includes("\0")) throw refuse("it has a NUL in it");
    if (instruction === "CMD") isCmdGiven = true;
    // The old command was made for the old entrypoint.
    if (instruction === "ENTRYPOINT" && !isCmdGiven) config.Cmd = null;
    change(config, rest, refuse);
  }
  return config;
}

type Refuse = (why: string) => Error;

const CHANGES = new Map<string, (config: RunConfig, rest: string, refuse: Refuse) => void>([
  [
    "CMD",
    (config, rest) => {
      config.Cmd = commandOf(rest);
    },
  ],
  [
    "ENTRYPOINT",
    (config, rest) => {
      config.Entrypoint = commandOf(rest);
    },
  ],
  [
    "ENV",
    (config, rest, refuse) => {
      const env = new Map((config.Env ?? []).map((entry) => [entry.split("=", 1)[0]!, entry]));
      for (const [key, value] of pairsOf(rest, config, refuse)) env.set(key, `${key}=${value}`);
      config.Env = [...env.values()];
    },
  ],
  [
    "EXPOSE",
    (config, rest, refuse) => {
      const ports = wordsOf(rest, config, refuse).flatMap((word) => portsOf(word, refuse));
      config.ExposedPorts = { ...config.ExposedPorts, ...Object.fromEntries(ports.map((port) => [port, {}])) };
    },
  ],
  [
    "HEALTHCHECK",
    (config, rest, refuse) => {
      config.Healthcheck = healthcheckOf(rest, refuse);
    },
  ],
  [
    "LABEL",
    (config, rest, refuse) => {
      config.Labels = { ...config.Labels, ...Object.fromEntries(pairsOf(rest, config, refuse)) };
    },
  ],
  [
    "ONBUILD",
    (config, rest, refuse) => {
      if (/^(?:ONBUILD|FROM|MAINTAINER)\b/i.test(rest)) throw refuse("that can't wait for a build");
      config.OnBuild = [...(config.OnBuild ?? []), rest];
    },
  ],
  [
    "STOPSIGNAL",
    (config, rest, refuse) => {
      config.StopSignal = oneWord(rest, config, refuse);
    },
  ],
  [
    "USER",
    (config, rest, refuse) => {
      config.User = oneWord(rest, config, refuse);
    },
  ],
  [
    "VOLUME",
    (config, rest, refuse) => {
      const paths = listOf(rest) ?? wordsOf(rest, config, refuse);
      if (paths.some((path) => path.trim() === "")) throw refuse("a volume without a path");
      config.Volumes = { ...config.Volumes, ...Object.fromEntries(paths.map((path) => [path, {}])) };
    },
  ],
  [
    "WORKDIR",
    (config, rest, refuse) => {
      config.WorkingDir = posix.resolve("/", config.WorkingDir || "/", oneWord(rest, config, refuse));
    },
  ],
]);

/** A list in JSON's form, or a line for the shell. */
function commandOf(rest: string): string[] | null {
  if (rest === "") return null;
  return listOf(rest) ?? [...SHELL, rest];
}

/** Undefined for what is no list of texts in JSON's form. */
function listOf(rest: string): string[] | undefined {
  if (!rest.startsWith("[")) return undefined;
  try {
    const list: unknown = JSON.parse(rest);
    return Array.isArray(list) && list.every((one) => typeof one === "string") ? list : undefined;
  } catch {
    return undefined;
  }
}

/** `A=b C="d e"`, or in the old form `A b c`: one of them. */
function pairsOf(rest: string, config: RunConfig, refuse: Refuse): [string, string][] {
  const first = /^\S+/.exec(rest)![0];
  if (!first.includes("=")) {
    const value = rest.slice(first.length).trim();
    if (value === "") throw refuse(`${JSON.stringify(first)} has no value`);
    return [[first, expanded(value, config, refuse)]];
  }
  return wordsOf(rest, config, refuse).map((word) => {
    const end = word.indexOf("=");
    if (end <= 0) throw refuse(`${JSON.stringify(word.slice(0, MAX_SHOWN))} is not of the form NAME=value`);
    return [word.slice(0, end), word.slice(end + 1)];
  });
}

function oneWord(rest: string, config: RunConfig, refuse: Refuse): string {
  const value = expanded(rest, config, refuse);
  if (value === "") throw refuse("it says nothing");
  return value;
}

function expanded(text: string, config: RunConfig, refuse: Refuse): string {
  return new Lexer(text, config, refuse).all().join("");
}

function wordsOf(text: string, config: RunConfig, refuse: Refuse): string[] {
  return new Lexer(text, config, refuse).words();
}

/** Words as a shell has them: quotes, backslashes, variables. */
class Lexer {
  readonly #text: string;
  readonly #env: Map<string, string>;
  readonly #refuse: Refuse;

  constructor(text: string, { Env: env }: RunConfig, refuse: Refuse) {
    this.#text = text;
    this.#refuse = refuse;
    this.#env = new Map((env ?? []).map((entry) => [entry.split("=", 1)[0]!, entry.slice(entry.indexOf("=") + 1)]));
  }

  words(): string[] {
    const words: string[] = [];
    let word: string | undefined;
    for (const part of this.#parts()) {
      if (part !== undefined) word = (word ?? "") + part;
      else if (word !== undefined) {
        words.push(word);
        word = undefined;
      }
    }
    return word === undefined ? words : [...words, word];
  }

  /** Blanks are a part of it. */
  all(): string[] {
    return [...this.#parts(true)].map((part) => part ?? "");
  }

  /** Undefined stands for blanks between words. */
  *#parts(withBlanks = false): Generator<string | undefined> {
    const text = this.#text;
    let quote = "";
    for (let at = 0; at < text.length; at++) {
      const char = text[at]!;
      if (quote === "'" && char !== "'") yield char;
      else if (char === quote) quote = "";
      else if (quote === "" && (char === "'" || char === '"')) {
        quote = char;
        yield "";
      } else if (char === "\\") {
        const next = text[++at];
        if (next === undefined) yield char;
        else yield quote === '"' && !'"$\\'.includes(next) ? char + next : next;
      } else if (char === "$") {
        const [variable = "$", name, braced, operator = "", other = ""] =
          /^\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::([-+])([^}]*))?\})/.exec(text.slice(at)) ?? [];
        if (variable === "$" && text[at + 1] === "{") throw this.#refuse("it has a variable that can't be read");
        at += variable.length - 1;
        yield variable === "$" ? char : this.#value(name ?? braced!, operator, other);
      } else if (quote === "" && /\s/.test(char) && !withBlanks) yield undefined;
      else yield char;
    }
    if (quote !== "") throw this.#refuse("a quote is not closed");
  }

  #value(name: string, operator: string, other: string): string {
    const value = this.#env.get(name) ?? "";
    if (operator === "-") return value === "" ? other : value;
    if (operator === "+") return value === "" ? "" : other;
    return value;
  }
}

/** `80`, `80-82`, with `/tcp`, `/udp` or `/sctp`. */
function portsOf(word: string, refuse: Refuse): string[] {
  const [, first = "", last = first, protocol = "tcp"] =
    /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(word) ?? [];
  const [from, to] = [Number(first), Number(last)];
  if (first === "" || from < 1 || to < from || to > 65535)
    throw refuse(`${JSON.stringify(word.slice(0, MAX_SHOWN))} is no port`);
  return Array.from({ length: to - from + 1 }, (_, i) => `${from + i}/${protocol.toLowerCase()}`);
}

const HEALTHCHECK_TIMES = new Map([
  ["interval", "Interval"],
  ["timeout", "Timeout"],
  ["start-period", "StartPeriod"],
]);

/** `NONE`, or `[--interval=5s --timeout=… --start-period=… --retries=3] CMD …`. */
function healthcheckOf(text: string, refuse: Refuse): object {
  const check: Record<string, unknown> = {};
  let rest = text;
  for (let option = OPTION.exec(rest); option !== null; option = OPTION.exec(rest)) {
    const [all, name = "", value = ""] = option;
    rest = rest.slice(all.length);
    const time = HEALTHCHECK_TIMES.get(name);
    if (name === "retries" && /^\d{1,9}$/.test(value)) check.Retries = Number(value);
    else if (time !== undefined) check[time] = nanosecondsOf(value, refuse);
    else throw refuse(`--${name}=${value} is not known`);
  }
  const [, kind = "", command = ""] = /^(\S+)\s*([\s\S]*)$/.exec(rest) ?? [];
  if (kind.toUpperCase() === "NONE" && command === "") return { Test: ["NONE"] };
  if (kind.toUpperCase() !== "CMD" || command === "") throw refuse("a health check is NONE, or CMD with a command");
  const list = listOf(command);
  return { Test: list === undefined ? ["CMD-SHELL", command] : ["CMD", ...list], ...check };
}

const OPTION = /^--([a-z-]+)=(\S+)\s+/;

function nanosecondsOf(value: string, refuse: Refuse): number {
  try {
    return parseGoDuration(value) * 1e6;
  } catch {
    throw refuse(`${JSON.stringify(value)} is no duration`);
  }
}
