import {
  ACK,
  BLOCK_LIMIT,
  FRAME_HEADER,
  frameHeaderAt,
  GOAWAY,
  HEADERS,
  headerFramesAt,
  preface,
  SETTINGS,
  WINDOW_UPDATE,
} from "./frames.js";
import { authorityValues, hasSlash } from "./header-block.js";

/**
 * What the beginning of a connection tells: "wait" for more; "settings": wait, and the client may wait for the server's SETTINGS before
 * it sends more; "native": nghttp2 can have it as it is; "patch": it must go through an AuthorityPatch;
 * "refuse": no client sends so much before its first request.
 */
export type Verdict = "wait" | "settings" | "native" | "patch" | "refuse";

/**
 * The beginning of a connection, up to its first request. Everything that is not known to be legal goes the way that is always right
 * ("patch"); what is no HTTP/2 is nghttp2's to refuse ("native").
 */
export class Opening {
  #buffer: Buffer = Buffer.alloc(0);
  #length = 0;
  /** Where the first frame is that has not been looked at as a whole. */
  #at = preface.length;
  /** We have sent SETTINGS that nghttp2 does not know of: their acknowledgement is not for it. */
  #settingsSent = false;
  /** Where that acknowledgement is in the data. */
  #ackAt: number | undefined;

  /** Everything that came. */
  get data(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /** The acknowledgement of our SETTINGS is still to be left out. */
  get ackDue(): boolean {
    return this.#settingsSent;
  }

  settingsSent(): void {
    this.#settingsSent = true;
  }

  /** Everything that came, but for the acknowledgement of our SETTINGS. */
  dataWithoutAck(): Buffer {
    const { data } = this;
    if (this.#ackAt === undefined) return data;
    return Buffer.concat([data.subarray(0, this.#ackAt), data.subarray(this.#ackAt + FRAME_HEADER)]);
  }

  write(chunk: Buffer): Verdict {
    if (this.#length === 0) {
      this.#buffer = chunk;
    } else {
      if (this.#length + chunk.length > this.#buffer.length) this.#grow(this.#length + chunk.length);
      chunk.copy(this.#buffer, this.#length);
    }
    this.#length += chunk.length;
    return this.#judge();
  }

  /** To twice what is needed: what comes byte by byte is not copied each time. */
  #grow(needed: number): void {
    const larger = Buffer.alloc(2 * needed);
    this.data.copy(larger);
    this.#buffer = larger;
  }

  #judge(): Verdict {
    const { data } = this;
    const common = Math.min(data.length, preface.length);
    if (data.compare(preface, 0, common, 0, common) !== 0) return "native";
    let verdict: Verdict = "wait";
    for (;;) {
      const at = this.#at;
      const frame = frameHeaderAt(data, at);
      if (frame === undefined) break;
      if (at > BLOCK_LIMIT) return "refuse";
      const end = at + FRAME_HEADER + frame.length;
      const isAck = frame.type === SETTINGS && (frame.flags & ACK) !== 0;
      if (isAck) {
        // One that we have not asked for.
        if (!this.#settingsSent || this.#ackAt !== undefined || frame.length !== 0) return "native";
        this.#ackAt = at;
      } else if (frame.type === SETTINGS || frame.type === WINDOW_UPDATE) {
        // A larger one than any client sends is not worth holding.
        if (frame.length > 1024) return "native";
      } else if (frame.type === HEADERS) {
        const headers = headerFramesAt(data, at);
        if (headers === "incomplete") return "wait";
        if (headers === "malformed") return "patch";
        const legal = !authorityValues(Buffer.concat(headers.fragments)).some(hasSlash);
        if (!legal) return "patch";
        if (!this.#settingsSent || this.#ackAt !== undefined) return "native";
        // The request and our SETTINGS have crossed. The acknowledgement may be behind it already; else it will have to be left out later.
        return this.#findAck(headers.end) ? "native" : "patch";
      } else {
        // A client that sends PING before its first request wants an answer before it.
        return frame.type === GOAWAY ? "native" : "patch";
      }
      if (end > data.length) return "wait";
      this.#at = end;
      verdict = this.#settingsSent ? "wait" : "settings";
    }
    // A client that is in the middle of a frame does not wait for us.
    return this.#at === data.length ? verdict : "wait";
  }

  /** Looks for the acknowledgement of our SETTINGS in the frames from `at` on. */
  #findAck(at: number): boolean {
    const { data } = this;
    for (let frame = frameHeaderAt(data, at); frame !== undefined; frame = frameHeaderAt(data, at)) {
      if (frame.type === SETTINGS && frame.flags & ACK && frame.length === 0) {
        this.#ackAt = at;
        return true;
      }
      at += FRAME_HEADER + frame.length;
    }
    return false;
  }
}
