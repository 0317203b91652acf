/** Messages of netlink(7): how they are written and read. Numbers are in the machine's order, which is little-endian wherever we run. */

export interface NetlinkMessage {
  /** RTM_NEWLINK, … */
  type: number;
  flags: number;
  /** What follows the header: a structure of the protocol, then attributes. */
  body: Buffer;
}

export interface ReceivedMessage extends NetlinkMessage {
  sequence: number;
}

const HEADER_SIZE = 16;
const ATTRIBUTE_HEADER_SIZE = 4;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

export const NLM_F_REQUEST = 1;
export const NLM_F_ACK = 4;
export const NLM_F_DUMP_INTR = 0x10;
/** Of an error: its header only is repeated, not what was asked. */
export const NLM_F_CAPPED = 0x100;
export const NLM_F_ACK_TLVS = 0x200;
/** Of what makes something: in place of what is there. */
export const NLM_F_REPLACE = 0x100;
/** As above: it must not be there yet. */
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
/** ROOT and MATCH: all of them. */
export const NLM_F_DUMP = 0x300;

const aligned = (size: number) => Math.ceil(size / 4) * 4;

/** A message with its header. */
export function encodeMessage({ type, flags, body }: NetlinkMessage, sequence: number): Buffer {
  const message = Buffer.alloc(HEADER_SIZE + aligned(body.length));
  message.writeUInt32LE(HEADER_SIZE + body.length, 0);
  message.writeUInt16LE(type, 4);
  message.writeUInt16LE(flags, 6);
  message.writeUInt32LE(sequence, 8);
  body.copy(message, HEADER_SIZE);
  return message;
}

/** All messages of what was received at once. What is cut off is left out. */
export function decodeMessages(data: Buffer): ReceivedMessage[] {
  const messages: ReceivedMessage[] = [];
  for (let at = 0; at + HEADER_SIZE <= data.length; ) {
    const length = data.readUInt32LE(at);
    if (length < HEADER_SIZE || at + length > data.length) break;
    messages.push({
      type: data.readUInt16LE(at + 4),
      flags: data.readUInt16LE(at + 6),
      sequence: data.readUInt32LE(at + 8),
      body: data.subarray(at + HEADER_SIZE, at + length),
    });
    at += aligned(length);
  }
  return messages;
}

export function attribute(type: number, value: Buffer): Buffer {
  const bytes = Buffer.alloc(ATTRIBUTE_HEADER_SIZE + aligned(value.length));
  bytes.writeUInt16LE(ATTRIBUTE_HEADER_SIZE + value.length, 0);
  bytes.writeUInt16LE(type, 2);
  value.copy(bytes, ATTRIBUTE_HEADER_SIZE);
  return bytes;
}

export function textAttribute(type: number, value: string): Buffer {
  return attribute(type, Buffer.from(`${value}\0`));
}

export function byteAttribute(type: number, value: number): Buffer {
  return attribute(type, Buffer.of(value));
}

export function wordAttribute(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value, 0);
  return attribute(type, bytes);
}

/** An attribute that is made of others. */
export function nestedAttribute(type: number, ...attributes: readonly Buffer[]): Buffer {
  return attribute(type | NLA_F_NESTED, Buffer.concat(attributes));
}

/** Attributes by their types; of several of one type the last. What is cut off is left out. */
export function decodeAttributes(data: Buffer): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  for (let at = 0; at + ATTRIBUTE_HEADER_SIZE <= data.length; ) {
    const length = data.readUInt16LE(at);
    if (length < ATTRIBUTE_HEADER_SIZE || at + length > data.length) break;
    attributes.set(data.readUInt16LE(at + 2) & NLA_TYPE_MASK, data.subarray(at + ATTRIBUTE_HEADER_SIZE, at + length));
    at += aligned(length);
  }
  return attributes;
}

/** The text of an attribute; "" of one that is not there. */
export function textOf(value: Buffer | undefined): string {
  return value === undefined ? "" : value.toString("utf8").replace(/\0.*$/s, "");
}
