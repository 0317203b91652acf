/** The frame walker under everything a client could send: it changes `:authority`, and nothing else. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AuthorityPatch } from "../../../src/services/grpc/authority/authority-patch.js";
import { BLOCK_LIMIT } from "../../../src/services/grpc/authority/frames.js";
import { Opening, type Verdict } from "../../../src/services/grpc/authority/opening.js";
import { AUTHORITY, type Indexing, indexed, integer, literal, PATH } from "./hpack.js";
import {
  ACK,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  greeting,
  HEADERS,
  message,
  PADDED,
  PING,
  PRIORITY,
  preface,
  RST_STREAM,
  requestBlock,
  SETTINGS,
  WINDOW_UPDATE,
} from "./wire-client.js";

const PATH_AUTHORITY = "/var/run/docker/libcontainerd/docker-containerd.sock";

/** Cuts at the given places (fractions of the length). The pieces are copies: the patch writes into them. */
function split(bytes: Buffer, cuts: number[]): Buffer[] {
  const at = [...new Set([0, ...cuts.map((cut) => Math.floor(cut * bytes.length)), bytes.length])].sort(
    (a, b) => a - b,
  );
  return at.slice(1).map((end, index) => Buffer.from(bytes.subarray(at[index], end)));
}

function run(pieces: Buffer[], dropAck = false): Buffer {
  const patch = new AuthorityPatch(dropAck);
  return Buffer.concat([...pieces.flatMap((piece) => patch.write(piece)), patch.end()]);
}

const cuts = fc.oneof(
  fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 20 }),
  // Byte by byte.
  fc.constant(Array.from({ length: 2000 }, (_, index) => index / 2000)),
);

interface Field {
  name: string | number;
  value: string;
  coded: boolean;
  indexing: Indexing;
}
const text = fc.string({ unit: fc.constantFrom(..."abc/./~ :[]{}\\|^<>\u007f%/é"), maxLength: 30 });
const field: fc.Arbitrary<Field | Buffer> = fc.oneof(
  fc.record({
    name: fc.oneof(
      fc.constantFrom<string | number>(AUTHORITY, PATH, "x-authority", ":authority-not", 62, 63, 65, 200),
      fc.integer({ min: 2, max: 1000 }),
    ),
    value: text,
    coded: fc.boolean(),
    indexing: fc.constantFrom<Indexing>("incremental", "none", "never"),
  }),
  fc.integer({ min: 1, max: 500 }).map(indexed),
  fc.integer({ min: 0, max: 5000 }).map((size) => integer(size, 5, 0x20)),
);

/** A frame sequence as it is sent, and as it has to come out. */
type Part = (patched: boolean) => Buffer;

const encode = (fields: (Field | Buffer)[], patched: boolean) =>
  Buffer.concat(
    fields.map((part) =>
      Buffer.isBuffer(part)
        ? part
        : literal(part.name, patched && part.name === AUTHORITY ? part.value.replaceAll("/", ".") : part.value, part),
    ),
  );

const headers: fc.Arbitrary<Part> = fc
  .record({
    fields: fc.array(field, { maxLength: 8 }),
    streamId: fc.integer({ min: 1, max: 0x7fffffff }),
    endStream: fc.boolean(),
    padding: fc.option(fc.integer({ min: 0, max: 255 })),
    priority: fc.boolean(),
    fragments: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 4 }),
  })
  .map(({ fields, streamId, endStream, padding, priority, fragments }) => (patched) => {
    const [first, ...rest] = [...split(encode(fields, patched), fragments)];
    const flags =
      (endStream ? END_STREAM : 0) |
      (padding === null ? 0 : PADDED) |
      (priority ? PRIORITY : 0) |
      (rest.length === 0 ? END_HEADERS : 0);
    const payload = Buffer.concat([
      padding === null ? Buffer.alloc(0) : Buffer.from([padding]),
      priority ? Buffer.from([0x80, 0, 0, 3, 0x2f]) : Buffer.alloc(0),
      first ?? Buffer.alloc(0),
      Buffer.alloc(padding ?? 0, "/"),
    ]);
    return Buffer.concat([
      frame(HEADERS, flags, streamId, payload),
      ...rest.map((fragment, index) =>
        frame(CONTINUATION, index === rest.length - 1 ? END_HEADERS : 0, streamId, fragment),
      ),
    ]);
  });

const otherFrame: fc.Arbitrary<Part> = fc
  .record({
    type: fc.constantFrom(DATA, 2, RST_STREAM, SETTINGS, 5, PING, GOAWAY, WINDOW_UPDATE, 0x2f, 0xff),
    flags: fc.integer({ min: 0, max: 255 }),
    streamId: fc.integer({ min: 0, max: 0x7fffffff }),
    payload: fc.oneof(
      fc.uint8Array({ maxLength: 50 }),
      // What looks like a request inside of data, and one that is larger than anything held.
      fc.constant(Buffer.concat([preface, frame(HEADERS, END_HEADERS, 1, literal(AUTHORITY, "/a/b"))])),
      fc.constant(Buffer.alloc(BLOCK_LIMIT * 2, "/")),
    ),
  })
  .map(
    ({ type, flags, streamId, payload }) =>
      () =>
        frame(type, flags, streamId, payload),
  );

const connection = fc.array(fc.oneof(headers, otherFrame), { maxLength: 8 });

describe("whatever a client sends", () => {
  test("only the slashes of :authority become dots", () => {
    fc.assert(
      fc.property(connection, cuts, (parts, places) => {
        const sent = Buffer.concat([preface, ...parts.map((part) => part(false))]);
        const expected = Buffer.concat([preface, ...parts.map((part) => part(true))]);
        expect(run(split(sent, places)).equals(expected)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  test("garbage goes through, every byte of it, the same for all ways it is cut", () => {
    const garbage = fc.array(
      fc.oneof(
        fc.uint8Array({ maxLength: 100 }),
        fc
          .tuple(
            fc.constantFrom(HEADERS, CONTINUATION, SETTINGS),
            fc.integer({ min: 0, max: 255 }),
            fc.uint8Array({ maxLength: 30 }),
          )
          .map(([type, flags, payload]) => frame(type, flags, 1, payload)),
        headers.map((part) => part(false)),
      ),
      { maxLength: 10 },
    );
    fc.assert(
      fc.property(garbage, cuts, fc.boolean(), (parts, places, withPreface) => {
        const sent = Buffer.concat([withPreface ? preface : Buffer.alloc(0), ...parts]);
        const whole = run([Buffer.from(sent)]);
        expect(whole.length).toBe(sent.length);
        expect(run(split(sent, places)).equals(whole)).toBe(true);
        // What was changed once has nothing left to change.
        expect(run([Buffer.from(whole)]).equals(whole)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  test("a header block without an end is not held for ever", () => {
    const patch = new AuthorityPatch(false);
    patch.write(Buffer.concat([preface, frame(HEADERS, 0, 1, literal(AUTHORITY, "/a"))]));
    let held = 0;
    for (let round = 0; round < 100; round++) {
      const piece = frame(CONTINUATION, 0, 1, Buffer.alloc(4096));
      held += piece.length - patch.write(piece).reduce((sum, part) => sum + part.length, 0);
      expect(held).toBeLessThan(BLOCK_LIMIT + 5000);
    }
    expect(held).toBeLessThan(0);
  });

  test("a frame that announces 16 MB of headers is not waited for", () => {
    const patch = new AuthorityPatch(false);
    const begin = Buffer.concat([preface, Buffer.from([0xff, 0xff, 0xff, HEADERS, 0, 0, 0, 0, 1])]);
    expect(Buffer.concat(patch.write(begin))).toEqual(begin);
    expect(patch.write(Buffer.from("/more"))).toEqual([Buffer.from("/more")]);
  });
});

test("only the first acknowledgement of SETTINGS is left out, and only when it is asked for", () => {
  const ack = frame(SETTINGS, ACK, 0);
  const request = frame(HEADERS, END_HEADERS, 1, requestBlock("x", "/y"));
  fc.assert(
    fc.property(cuts, (places) => {
      const sent = Buffer.concat([greeting, request, ack, request, ack]);
      expect(run(split(sent, places), true)).toEqual(Buffer.concat([greeting, request, request, ack]));
      expect(run(split(sent, places), false)).toEqual(sent);
    }),
  );
});

describe("the beginning of a connection", () => {
  const ack = frame(SETTINGS, ACK, 0);
  const data = frame(DATA, END_STREAM, 1, message());
  const request = (authority: string) => frame(HEADERS, END_HEADERS, 1, requestBlock(authority, "/types.API/State"));

  /** Writes the pieces as they come; SETTINGS are sent when it takes that. */
  function open(pieces: Buffer[]): { verdict: Verdict; settingsSent: boolean; opening: Opening } {
    const opening = new Opening();
    let settingsSent = false;
    for (const piece of pieces) {
      const verdict = opening.write(piece);
      if (verdict === "settings") {
        expect(settingsSent).toBe(false);
        settingsSent = true;
        opening.settingsSent();
      } else if (verdict !== "wait") return { verdict, settingsSent, opening };
    }
    return { verdict: "wait", settingsSent, opening };
  }

  test.each([
    ["a client that waits for SETTINGS, legal", [greeting, ack, request("localhost")], "native"],
    ["a client that waits for SETTINGS, a path", [greeting, ack, request(PATH_AUTHORITY)], "patch"],
    ["a client that does not wait, legal", [Buffer.concat([greeting, request("unix")])], "native"],
    ["a client that does not wait, a path", [Buffer.concat([greeting, request(PATH_AUTHORITY)])], "patch"],
    ["a request and SETTINGS that cross, legal", [greeting, request("unix")], "patch"],
    ["… with the acknowledgement right behind", [greeting, Buffer.concat([request("unix"), data, ack])], "native"],
    ["no HTTP/2", [Buffer.from("GET / HTTP/1.1\r\n\r\n")], "native"],
    ["PING before the first request", [greeting, frame(PING, 0, 0, Buffer.alloc(8))], "patch"],
    ["a client that leaves", [greeting, frame(GOAWAY, 0, 0, Buffer.alloc(8))], "native"],
    ["an acknowledgement of nothing", [Buffer.concat([greeting, ack])], "native"],
    ["a client that sends nothing more", [greeting], "wait"],
    ["half a preface", [preface.subarray(0, 10)], "wait"],
  ])("%s", (_, pieces, verdict) => {
    expect(open(pieces).verdict).toBe(verdict);
  });

  test("our SETTINGS' acknowledgement is left out, and nothing else", () => {
    const { opening } = open([greeting, ack, request("localhost"), data]);
    expect(opening.dataWithoutAck()).toEqual(Buffer.concat([greeting, request("localhost")]));
  });

  test("a path is patched and a legal authority is not, however the bytes are cut", () => {
    fc.assert(
      fc.property(fc.constantFrom("localhost", PATH_AUTHORITY), cuts, (authority, places) => {
        const { verdict, settingsSent, opening } = open([
          ...split(greeting, places),
          ...split(Buffer.concat([ack, request(authority)]), places),
        ]);
        expect(settingsSent).toBe(true);
        expect(verdict).toBe(authority === "localhost" ? "native" : "patch");
        expect(opening.data).toEqual(Buffer.concat([greeting, ack, request(authority)]));
      }),
    );
  });

  test("garbage never makes it fail", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 20 }), fc.boolean(), (parts, polite) => {
        const opening = new Opening();
        for (const part of [polite ? greeting : Buffer.alloc(0), ...parts.map(Buffer.from)]) {
          const verdict = opening.write(part);
          if (verdict === "settings") opening.settingsSent();
          else if (verdict !== "wait") break;
        }
      }),
      { numRuns: 1000 },
    );
  });
});
