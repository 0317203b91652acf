/** A client that is nothing but frames: for what no HTTP/2 library would send. */
import { connect, type Socket } from "node:net";
import { eventually } from "../../harness/wait.js";
import { AUTHORITY, indexed, literal, METHOD_POST, PATH, SCHEME_HTTP } from "./hpack.js";

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** Types and flags of RFC 9113, 6. */
export const DATA = 0;
export const HEADERS = 1;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;
export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;
export const PADDED = 8;
export const PRIORITY = 0x20;

export function frame(type: number, flags: number, streamId: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, payload]);
}

/** What Docker's grpc-go sends when it has connected: empty SETTINGS, and a window of 1 MiB for the connection. */
export const greeting = Buffer.concat([
  preface,
  frame(SETTINGS, 0, 0),
  frame(WINDOW_UPDATE, 0, 0, Buffer.from([0, 0x0e, 0xff, 0xf1])),
]);

/** The header block of a first request. */
export function requestBlock(authority: string, method: string): Buffer {
  return Buffer.concat([
    indexed(METHOD_POST),
    indexed(SCHEME_HTTP),
    literal(PATH, method),
    literal(AUTHORITY, authority),
    literal("content-type", "application/grpc"),
    literal("te", "trailers"),
  ]);
}

/** One gRPC message that is not compressed. */
export function message(bytes: Uint8Array = Buffer.alloc(0)): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

export interface ReceivedFrame {
  type: number;
  flags: number;
  streamId: number;
  payload: Buffer;
}

export class WireClient implements Disposable {
  readonly socket: Socket;
  readonly frames: ReceivedFrame[] = [];
  /** The server has closed the connection. */
  closed = false;
  #rest: Buffer = Buffer.alloc(0);

  constructor(path: string, { acknowledge = true }: { acknowledge?: boolean } = {}) {
    // Stays open on our side until we close it, whatever the server does.
    this.socket = connect({ path, allowHalfOpen: true });
    this.socket.on("error", () => {});
    for (const event of ["end", "close"] as const)
      this.socket.on(event, () => {
        this.closed = true;
      });
    this.socket.on("data", (chunk) => {
      this.#rest = Buffer.concat([this.#rest, chunk]);
      while (this.#rest.length >= 9) {
        const length = this.#rest.readUIntBE(0, 3);
        if (this.#rest.length < 9 + length) break;
        const [type = 0, flags = 0] = this.#rest.subarray(3, 5);
        const received = {
          type,
          flags,
          streamId: this.#rest.readUInt32BE(5),
          payload: this.#rest.subarray(9, 9 + length),
        };
        this.#rest = this.#rest.subarray(9 + length);
        this.frames.push(received);
        if (acknowledge && type === SETTINGS && !(flags & ACK)) this.send(frame(SETTINGS, ACK, 0));
      }
    });
  }

  send(...parts: Uint8Array[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** The first frame that fits, received already or coming. */
  waitFor(what: string, fits: (frame: ReceivedFrame) => boolean, timeout = 10_000): Promise<ReceivedFrame> {
    return eventually(() => this.frames.find(fits), { what, timeout });
  }

  /** The data of an answer that ended well: its stream was ended by trailers, not reset. */
  async answer(streamId: number): Promise<Buffer> {
    const last = await this.waitFor(
      `the end of stream ${streamId}`,
      (frame) =>
        frame.streamId === streamId &&
        (frame.type === RST_STREAM || (frame.type === HEADERS && (frame.flags & END_STREAM) !== 0)),
    );
    if (last.type === RST_STREAM) throw new Error(`stream ${streamId} was reset: ${last.payload.readUInt32BE(0)}`);
    return Buffer.concat(
      this.frames.filter((frame) => frame.streamId === streamId && frame.type === DATA).map(({ payload }) => payload),
    );
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}
