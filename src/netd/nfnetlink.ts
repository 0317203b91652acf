/**
 * The kernel's packet filter, asked by messages of our own (linux/netfilter/nf_tables.h): what `nft` would send for the same rules. All
 * messages of a batch are one transaction.
 */
import { errorText } from "../shim/syscalls/libc";
import * as inet from "./syscalls/inet";

const NFNL_SUBSYS_NFTABLES = 10;
const BATCH_BEGIN = 0x10;
const BATCH_END = 0x11;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;
const NLMSG_ERROR = 2;
const NESTED = 0x8000;

/** Families of tables. */
export const INET = 1;
export const IPV4 = 2;

/** Messages: linux/netfilter/nf_tables.h's NFT_MSG_*. */
export const NEW_TABLE = 0;
export const GET_TABLE = 1;
export const DELETE_TABLE = 2;
export const NEW_CHAIN = 3;
export const NEW_RULE = 6;
export const NEW_ELEMENTS = 12;
export const DELETE_ELEMENTS = 14;

/** One message of a batch: its type, its family, its flags beside NLM_F_REQUEST, its attributes. */
export interface Message {
  readonly type: number;
  readonly family: number;
  readonly flags: number;
  readonly attributes: string;
}

/** 32 bits as attributes have them: the highest first. */
export function bigEndian(value: number): string {
  return string.char((value >>> 24) & 0xff, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

/** 64 bits, of which a number of Lua's holds 53. */
export function bigEndian64(value: number): string {
  return bigEndian(math.floor(value / 2 ** 32)) + bigEndian(value % 2 ** 32);
}

/** 16 and 32 bits as headers have them: in the processor's order, which is little-endian wherever LuaJIT runs. */
function word(value: number): string {
  return string.char(value & 0xff, (value >>> 8) & 0xff);
}

function doubleWord(value: number): string {
  return word(value & 0xffff) + word(value >>> 16);
}

/** An attribute: padded to 4 bytes. */
export function attribute(type: number, value: string): string {
  return word(value.length + 4) + word(type) + value + string.rep("\0", -value.length & 3);
}

/** A text, with the NUL at its end. */
export function text(type: number, value: string): string {
  return attribute(type, `${value}\0`);
}

/** Attributes in an attribute. */
export function nested(type: number, ...attributes: string[]): string {
  return attribute(type + NESTED, table.concat(attributes));
}

/** An expression of a rule: NFTA_LIST_ELEM with NFTA_EXPR_NAME and NFTA_EXPR_DATA. */
export function expression(name: string, ...attributes: string[]): string {
  return nested(1, text(1, name), nested(2, ...attributes));
}

function packet(type: number, flags: number, sequence: number, family: number, resource: number, body: string): string {
  const generic = string.char(family, 0, resource >> 8, resource & 0xff);
  return `${doubleWord(20 + body.length)}${word(type)}${word(flags)}${doubleWord(sequence)}\0\0\0\0${generic}${body}`;
}

/**
 * Messages as one transaction. Each is acknowledged by its sequence number: `first` is the first message's.
 */
export function batch(messages: readonly Message[], first: number): string {
  const parts = [packet(BATCH_BEGIN, NLM_F_REQUEST, 0, 0, NFNL_SUBSYS_NFTABLES, "")];
  for (const index of $range(1, messages.length)) {
    const { type, family, flags, attributes } = messages[index - 1];
    const whole = NFNL_SUBSYS_NFTABLES * 256 + type;
    parts[parts.length] = packet(whole, flags + NLM_F_REQUEST + NLM_F_ACK, first + index - 1, family, 0, attributes);
  }
  parts[parts.length] = packet(BATCH_END, NLM_F_REQUEST, 0, 0, NFNL_SUBSYS_NFTABLES, "");
  return table.concat(parts);
}

/** Calls back for each acknowledgement in what the kernel has sent: its message's sequence number, and 0 or a negative errno. */
export function eachAnswer(data: string, answered: (sequence: number, result: number) => void): void {
  let at = 1;
  while (at + 20 <= data.length + 1) {
    const size = littleEndian(data, at);
    const [low, high] = string.byte(data, at + 4, at + 5);
    if (low + high * 256 === NLMSG_ERROR) answered(littleEndian(data, at + 8), littleEndian(data, at + 16) | 0);
    at += math.max(size + (-size & 3), 16);
  }
}

function littleEndian(data: string, at: number): number {
  const [a, b, c, d] = string.byte(data, at, at + 3);
  return a + b * 2 ** 8 + c * 2 ** 16 + d * 2 ** 24;
}

/**
 * Sends messages that are answered by the time they are sent: the kernel does all that is asked for within the send.
 *
 * @returns 0, or the negative errno of the first that failed
 */
function sendAndReceive(socket: number, data: string, expected: number): number {
  const sent = inet.sendData(socket, data);
  if (sent < 0) return sent;
  let outcome = 0;
  let answers = 0;
  while (answers < expected) {
    const answer = inet.receiveData(socket);
    // An error of the whole batch is told once.
    if (typeof answer === "number") return outcome < 0 ? outcome : answer;
    eachAnswer(answer, (_sequence, result) => {
      answers++;
      if (outcome === 0) outcome = result;
    });
  }
  return outcome;
}

/** Has a transaction made at once: 0, or the negative errno of the first message that failed. */
export function commit(socket: number, messages: readonly Message[]): number {
  return sendAndReceive(socket, batch(messages, 1), messages.length);
}

/** Asks for something, without changing anything: 0, or a negative errno when it is not there. */
export function ask(socket: number, { type, family, flags, attributes }: Message): number {
  const whole = NFNL_SUBSYS_NFTABLES * 256 + type;
  return sendAndReceive(socket, packet(whole, flags + NLM_F_REQUEST + NLM_F_ACK, 1, family, 0, attributes), 1);
}

/** As {@link commit}. Throws a message. */
export function mustCommit(socket: number, messages: readonly Message[]): void {
  const result = commit(socket, messages);
  if (result < 0) error(`nftables: ${errorText(result)}`, 0);
}
