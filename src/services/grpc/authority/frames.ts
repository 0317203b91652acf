/** What every HTTP/2 client sends first (RFC 9113, 3.4). */
export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** Frame types (RFC 9113, 6). */
export const HEADERS = 0x1;
export const SETTINGS = 0x4;
export const GOAWAY = 0x7;
export const WINDOW_UPDATE = 0x8;
export const CONTINUATION = 0x9;

/** Frame flags. */
export const ACK = 0x1;
export const END_HEADERS = 0x4;
const PADDED = 0x8;
const PRIORITY = 0x20;

/** Bytes before a frame's payload. */
export const FRAME_HEADER = 9;

/**
 * Header blocks larger than this, in bytes with their frames, are not held to be looked at. Node's own limit for a request's headers is 16
 * KiB, old clients send less than 1 KiB.
 */
export const BLOCK_LIMIT = 65_536;

/** Header blocks in more frames than this are not held either: nghttp2 takes fewer. */
const FRAMES_LIMIT = 32;

/** The first nine bytes of a frame (RFC 9113, 4.1). */
export interface FrameHeader {
  /** Of the payload. */
  length: number;
  type: number;
  flags: number;
  streamId: number;
}

/** The frame header at `at`; undefined when it is not all there. */
export function frameHeaderAt(data: Buffer, at: number): FrameHeader | undefined {
  if (data.length - at < FRAME_HEADER) return undefined;
  return {
    length: data.readUIntBE(at, 3),
    type: data[at + 3]!,
    flags: data[at + 4]!,
    streamId: data.readUInt32BE(at + 5) & 0x7fffffff,
  };
}

/** A header block: the frames it came in, and its fragments in them. */
interface HeaderFrames {
  /** Where the first byte after the last frame is. */
  end: number;
  /** In place. */
  fragments: Buffer[];
}

/**
 * The header block that begins with the HEADERS frame at `at`.
 * @returns "incomplete" when it is not all there; "malformed" when it can't be one, or is larger than {@link BLOCK_LIMIT}, or in too many
 *   frames
 */
export function headerFramesAt(data: Buffer, at: number): HeaderFrames | "incomplete" | "malformed" {
  const fragments: Buffer[] = [];
  const first = frameHeaderAt(data, at);
  for (let next = at; ; ) {
    const frame = frameHeaderAt(data, next);
    if (frame === undefined || first === undefined) return "incomplete";
    const isFirst = next === at;
    if (!isFirst && (frame.type !== CONTINUATION || frame.streamId !== first.streamId)) return "malformed";
    const payload = next + FRAME_HEADER;
    next = payload + frame.length;
    if (next - at > BLOCK_LIMIT || fragments.length === FRAMES_LIMIT) return "malformed";
    if (next > data.length) return "incomplete";
    const fragment = isFirst
      ? headersFragment(data.subarray(payload, next), frame.flags)
      : data.subarray(payload, next);
    if (fragment === undefined) return "malformed";
    fragments.push(fragment);
    if (frame.flags & END_HEADERS) return { end: next, fragments };
  }
}

/** A HEADERS frame's payload without padding and priority (RFC 9113, 6.2); undefined when the padding is longer than the payload. */
function headersFragment(payload: Buffer, flags: number): Buffer | undefined {
  let start = 0;
  let end = payload.length;
  if (flags & PADDED) {
    if (end === 0) return undefined;
    end -= payload[0]!;
    start += 1;
  }
  if (flags & PRIORITY) start += 5;
  return start <= end ? payload.subarray(start, end) : undefined;
}
