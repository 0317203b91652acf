import { ACK, BLOCK_LIMIT, FRAME_HEADER, frameHeaderAt, HEADERS, headerFramesAt, preface, SETTINGS } from "./frames.js";
import { replaceSlashes } from "./header-block.js";

const nothing: Buffer = Buffer.alloc(0);

/**
 * Follows the frames of what a client sends and makes every `/` in `:authority` a `.`, changing nothing else.
 *
 * Old grpc-go clients that dial a unix socket send its path as `:authority`. A slash is not allowed there (RFC 3986, 3.2), and nghttp2,
 * which Node's HTTP/2 is, resets such a stream before anybody sees it.
 */
export class AuthorityPatch {
  /** The start of a frame or header block of which more must come. */
  #held = nothing;
  /** Bytes to pass on unseen: first the preface, then payloads. */
  #skip = preface.length;
  #dropAck: boolean;
  /** It is no HTTP/2 that we understand: everything is passed on, and the HTTP/2 library will refuse it. */
  #passing = false;

  /** @param dropAck leave out the first acknowledgement of SETTINGS: the one of those that we sent and nghttp2 does not know of */
  constructor(dropAck: boolean) {
    this.#dropAck = dropAck;
  }

  /** Takes what came and returns what to pass on, in this order. The chunk is changed in place and parts of it returned. */
  write(chunk: Buffer): Buffer[] {
    if (this.#passing) return [chunk];
    const data = this.#held.length > 0 ? Buffer.concat([this.#held, chunk]) : chunk;
    this.#held = nothing;
    const parts: Buffer[] = [];
    let start = 0;
    let at = 0;
    while (at < data.length) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, data.length - at);
        this.#skip -= skipped;
        at += skipped;
        continue;
      }
      const frame = frameHeaderAt(data, at);
      if (frame === undefined) break;
      if (frame.type === HEADERS) {
        const headers = headerFramesAt(data, at);
        if (headers === "incomplete") break;
        if (headers === "malformed") {
          this.#passing = true;
          at = data.length;
          break;
        }
        replaceSlashesIn(headers.fragments);
        at = headers.end;
      } else if (this.#dropAck && frame.type === SETTINGS && frame.flags & ACK && frame.length === 0) {
        this.#dropAck = false;
        if (at > start) parts.push(data.subarray(start, at));
        at += FRAME_HEADER;
        start = at;
      } else {
        this.#skip = FRAME_HEADER + frame.length;
      }
    }
    if (at > start) parts.push(data.subarray(start, at));
    this.#held = data.subarray(at);
    if (this.#held.length > BLOCK_LIMIT) {
      this.#passing = true;
      parts.push(this.end());
    }
    return parts;
  }

  /** No more will come: what was held back. */
  end(): Buffer {
    const rest = this.#held;
    this.#held = nothing;
    return rest;
  }
}

/** A header block's fragments, in place; a string may lie across two of them. */
function replaceSlashesIn(fragments: Buffer[]): void {
  if (fragments.length === 1) {
    replaceSlashes(fragments[0]!);
    return;
  }
  const block = Buffer.concat(fragments);
  if (!replaceSlashes(block)) return;
  let at = 0;
  for (const fragment of fragments) {
    block.copy(fragment, 0, at);
    at += fragment.length;
  }
}
