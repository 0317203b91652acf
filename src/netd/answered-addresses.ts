/** Reads what a server has answered. It may be anything. */
import { TYPE_A, TYPE_AAAA } from "./dns";

export interface AnsweredAddress {
  /** 4 or 16 bytes. */
  readonly bytes: string;
  /** In seconds. */
  readonly time: number;
}

const HEADER_LENGTH = 12;
const CLASS_INTERNET = 1;

/** Behind the name that begins there (from 1), which may go on elsewhere; undefined when the packet ends before. */
function skipName(packet: string, start: number): number | undefined {
  let at = start;
  while (true) {
    const size = string.byte(packet, at);
    if (size === undefined) return undefined;
    if (size === 0) return at + 1;
    if (size >= 0xc0) return at + 2;
    at += size + 1;
  }
}

/**
 * The addresses in an answer, whatever names they are of: it is the question's name that was allowed, and who answers for that may send its
 * own users wherever it likes. Of a broken packet those before it breaks off.
 */
export function answeredAddresses(packet: string, most: number): AnsweredAddress[] {
  const found: AnsweredAddress[] = [];
  const [q1, q2, a1, a2] = string.byte(packet, 5, 8);
  if (a2 === undefined) return found;
  let at: number | undefined = HEADER_LENGTH + 1;
  for (const _question of $range(1, q1 * 256 + q2)) {
    at = skipName(packet, at);
    if (at === undefined) return found;
    at += 4;
  }
  for (const _answer of $range(1, a1 * 256 + a2)) {
    at = skipName(packet, at);
    if (at === undefined) return found;
    const [t1, t2, c1, c2, s1, s2, s3, s4, l1, l2] = string.byte(packet, at, at + 9);
    if (l2 === undefined) return found;
    const length = l1 * 256 + l2;
    const bytes = string.sub(packet, at + 10, at + 9 + length);
    if (bytes.length < length) return found;
    at += 10 + length;
    const type = t1 * 256 + t2;
    const isAddress = (type === TYPE_A && length === 4) || (type === TYPE_AAAA && length === 16);
    if (!isAddress || c1 * 256 + c2 !== CLASS_INTERNET) continue;
    // RFC 2181: with the highest bit it is none.
    const time = s1 > 127 ? 0 : s1 * 2 ** 24 + s2 * 2 ** 16 + s3 * 2 ** 8 + s4;
    found[found.length] = { bytes, time };
    if (found.length === most) return found;
  }
  return found;
}
