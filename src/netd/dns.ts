/** Packets of the domain name system (RFC 1035, 6891), as strings of bytes. What comes from a container is whatever it likes to send. */

export const TYPE_A = 1;
export const TYPE_PTR = 12;
export const TYPE_AAAA = 28;

export const NO_ERROR = 0;
export const SERVER_FAILURE = 2;
export const NO_SUCH_NAME = 3;
export const NOT_IMPLEMENTED = 4;
export const REFUSED = 5;

const HEADER_LENGTH = 12;
const LONGEST_NAME = 255;
const LONGEST_LABEL = 63;
const ANSWER = 0x80;
const AUTHORITATIVE = 0x04;
const TRUNCATED = 0x02;
const RECURSION_DESIRED = 0x01;
const RECURSION_AVAILABLE = 0x80;
const CLASS_INTERNET = 1;
/** The name of the question, where every answer has it. */
const NAME_OF_QUESTION = string.char(0xc0, 12);
/** In bytes: what fits without EDNS, what a client may ask for with it, and what we say that we take. */
const PLAIN_SIZE = 512;
const LARGEST_SIZE = 4096;
const OWN_SIZE = 1232;
const OPT = `\0\0\x29${string.char(OWN_SIZE >> 8, OWN_SIZE & 0xff)}\0\0\0\0\0\0`;

/** A question, as a container has sent it. */
export interface Question {
  /** The packet's first two bytes. */
  readonly id: string;
  readonly operation: number;
  readonly recursionDesired: boolean;
  /** In small letters, without a dot at its end; undefined when a label of it has a dot or a NUL inside. */
  readonly name: string | undefined;
  readonly type: number;
  readonly isInternet: boolean;
  /** The question's own bytes. */
  readonly section: string;
  /** How long an answer may be over UDP. */
  readonly room: number;
  readonly hasExtension: boolean;
}

/** A record of an answer: its type and its data. */
export interface Resource {
  readonly type: number;
  readonly data: string;
}

/** The labels of the name that begins there (from 1), and where it ends; undefined when it is none, or compressed. */
function readName(packet: string, start: number): LuaMultiReturn<[string[] | undefined, number]> {
  const labels: string[] = [];
  let at = start;
  while (true) {
    const size = string.byte(packet, at);
    if (size === undefined || size > LONGEST_LABEL) return $multi(undefined, at);
    if (size === 0) return $multi(labels, at + 1);
    labels[labels.length] = string.sub(packet, at + 1, at + size);
    at += size + 1;
    if (at - start >= LONGEST_NAME) return $multi(undefined, at);
  }
}

/** Undefined when it is no question, or not just one. */
export function parseQuestion(packet: string): Question | undefined {
  if (packet.length < HEADER_LENGTH + 5) return undefined;
  const [flags, , q1, q2, a1, a2, n1, n2, x1, x2] = string.byte(packet, 3, HEADER_LENGTH);
  if ((flags & ANSWER) !== 0 || q1 !== 0 || q2 !== 1 || a1 + a2 + n1 + n2 !== 0) return undefined;
  const [labels, end] = readName(packet, HEADER_LENGTH + 1);
  if (labels === undefined || end + 3 > packet.length) return undefined;
  const [t1, t2, c1, c2] = string.byte(packet, end, end + 3);
  const [root, o1, o2, s1, s2] = string.byte(packet, end + 4, end + 8);
  const hasExtension = x1 + x2 > 0 && root === 0 && o1 === 0 && o2 === 0x29 && s2 !== undefined;
  return {
    id: string.sub(packet, 1, 2),
    operation: (flags >> 3) & 15,
    recursionDesired: (flags & RECURSION_DESIRED) !== 0,
    name: nameOf(labels),
    type: t1 * 256 + t2,
    isInternet: c1 * 256 + c2 === CLASS_INTERNET,
    section: string.sub(packet, HEADER_LENGTH + 1, end + 3),
    room: hasExtension ? math.max(PLAIN_SIZE, math.min(s1 * 256 + s2, LARGEST_SIZE)) : PLAIN_SIZE,
    hasExtension,
  };
}

function nameOf(labels: string[]): string | undefined {
  for (const label of labels) {
    const [odd] = string.find(label, "[%z.]");
    if (odd !== undefined) return undefined;
  }
  return string.lower(table.concat(labels, "."));
}

/** A name as packets have it; undefined when it can't be one. */
export function nameBytes(name: string): string | undefined {
  let bytes = "";
  for (const [label] of string.gmatch(name, "[^.]+")) {
    if (label.length > LONGEST_LABEL) return undefined;
    bytes += string.char(label.length) + label;
  }
  return bytes.length < LONGEST_NAME ? `${bytes}\0` : undefined;
}

/**
 * An answer of our own. Its records may be used as long as they come: at once, and not again.
 *
 * @param room in bytes; what does not fit is left out, and the answer says so
 */
export function answer(question: Question, code: number, resources: readonly Resource[], room: number): string {
  const parts: string[] = [];
  let left = room - HEADER_LENGTH - question.section.length - (question.hasExtension ? OPT.length : 0);
  let isTruncated = false;
  for (const { type, data } of resources) {
    left -= 12 + data.length;
    if (left < 0) {
      isTruncated = true;
      break;
    }
    const length = string.char(data.length >> 8, data.length & 0xff);
    parts[parts.length] = `${NAME_OF_QUESTION}${string.char(0, type)}\0\x01\0\0\0\0${length}${data}`;
  }
  const first =
    ANSWER +
    question.operation * 8 +
    (code === NO_ERROR ? AUTHORITATIVE : 0) +
    (isTruncated ? TRUNCATED : 0) +
    (question.recursionDesired ? RECURSION_DESIRED : 0);
  const count = parts.length;
  const counts = string.char(0, 1, count >> 8, count & 0xff, 0, 0, 0, question.hasExtension ? 1 : 0);
  const head = question.id + string.char(first, RECURSION_AVAILABLE + code) + counts + question.section;
  return head + table.concat(parts) + (question.hasExtension ? OPT : "");
}

/** The same packet with another id. */
export function withId(packet: string, id: string): string {
  return id + string.sub(packet, 3);
}

/** Whether a packet is an answer with that id to that question: a server may write the name in other letters. */
export function isAnswer(packet: string, id: string, question: Question): boolean {
  const flags = string.byte(packet, 3);
  if (flags === undefined || (flags & ANSWER) === 0 || string.sub(packet, 1, 2) !== id) return false;
  // One that could not even read the question tells it as none.
  if (packet.length === HEADER_LENGTH) return string.sub(packet, 5, 6) === "\0\0";
  const section = string.sub(packet, HEADER_LENGTH + 1, HEADER_LENGTH + question.section.length);
  return string.lower(section) === string.lower(question.section);
}

/** The code of an answer. */
export function codeOf(packet: string): number {
  return string.byte(packet, 4) & 15;
}

/** The answer cut down to its question, with the word that more is to be had over TCP. */
export function truncated(packet: string, question: Question): string {
  const [flags, second] = string.byte(packet, 3, 4);
  const head = string.sub(packet, 1, 2) + string.char(flags | TRUNCATED, second);
  return `${head}\0\x01\0\0\0\0\0\0${question.section}`;
}

/** The bytes of the address that a name of in-addr.arpa or ip6.arpa stands for. */
export function reversedAddress(name: string): string | undefined {
  const [d, c, b, a] = string.match(name, "^(%d+)%.(%d+)%.(%d+)%.(%d+)%.in%-addr%.arpa$");
  if (d !== undefined) {
    const bytes = [a, b, c, d].map((text) => tonumber(text)!);
    return bytes.some((byte) => byte > 255) ? undefined : string.char(...bytes);
  }
  const [nibbles] = string.match(name, "^([%x.]+)%.ip6%.arpa$");
  if (nibbles === undefined || nibbles.length !== 63) return undefined;
  const [digits] = string.gsub(string.reverse(nibbles), "%.", "");
  if (digits.length !== 32) return undefined;
  return string.gsub(digits, "%x%x", (pair) => string.char(tonumber(pair, 16)!))[0];
}
