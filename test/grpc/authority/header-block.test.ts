/** Finding `:authority` in header blocks, with the examples of RFC 7541, appendix C. */
import { connect as connectHttp2 } from "node:http2";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { describe, expect, test } from "vitest";
import { frameHeaderAt, headerFramesAt } from "../../../src/services/grpc/authority/frames.js";
import { authorityValues, hasSlash, replaceSlashes } from "../../../src/services/grpc/authority/header-block.js";
import { SYMBOLS_OF_LENGTH, slashPositions } from "../../../src/services/grpc/authority/huffman.js";
import {
  AUTHORITY,
  FIRST_DYNAMIC,
  huffman,
  type Indexing,
  indexed,
  integer,
  literal,
  PATH,
  symbolsPerLength,
} from "./hpack.js";
import { HEADERS, preface } from "./wire-client.js";

const hex = (text: string) => Buffer.from(text.replace(/\s/g, ""), "hex");
const values = (block: Buffer) => authorityValues(block).map(({ bytes }) => Buffer.from(bytes).toString("hex"));

describe("RFC 7541, appendix C", () => {
  test.each([
    ["C.1.1: 10 with a prefix of 5 bits", integer(10, 5, 0), "0a"],
    ["C.1.2: 1337 with a prefix of 5 bits", integer(1337, 5, 0), "1f9a0a"],
    ["C.4.1: www.example.com, Huffman-coded", huffman("www.example.com"), "f1e3c2e5f23a6ba0ab90f4ff"],
    [
      "C.6.1: a date, Huffman-coded",
      huffman("Mon, 21 Oct 2013 20:13:21 GMT"),
      "d07abe941054d444a8200595040b8166e082a62d1bff",
    ],
  ])("our own encoder: %s", (_, encoded, expected) => {
    expect(encoded.toString("hex")).toBe(expected);
  });

  test.each([
    ["C.2.1: literal with a new name", "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", []],
    ["C.2.2: literal without indexing", "040c 2f73 616d 706c 652f 7061 7468", []],
    ["C.2.3: never indexed", "1008 7061 7373 776f 7264 0673 6563 7265 74", []],
    ["C.2.4: indexed", "82", []],
    ["C.3.1: plain", "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", ["7777772e6578616d706c652e636f6d"]],
    ["C.3.2: :authority from the dynamic table", "8286 84be 5808 6e6f 2d63 6163 6865", []],
    ["C.3.3", "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", []],
    ["C.4.1: Huffman-coded", "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", ["f1e3c2e5f23a6ba0ab90f4ff"]],
    ["C.4.2", "8286 84be 5886 a8eb 1064 9cbf", []],
    ["C.4.3", "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", []],
  ])("%s", (_, block, expected) => {
    const bytes = hex(block);
    expect(values(bytes)).toEqual(expected);
    const before = Buffer.from(bytes);
    expect(replaceSlashes(bytes)).toBe(false);
    expect(bytes).toEqual(before);
  });

  test("the whole of C.5's values, every one of them passed over", () => {
    const block = hex(
      `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d
       546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
    );
    const before = Buffer.from(block);
    expect(replaceSlashes(block)).toBe(false);
    expect(block).toEqual(before);
  });
});

describe("the Huffman code", () => {
  test("is complete, and as in appendix B", () => {
    expect(SYMBOLS_OF_LENGTH).toEqual(symbolsPerLength());
    expect(SYMBOLS_OF_LENGTH.reduce((sum, count, length) => sum + count * 2 ** -length, 0)).toBe(1);
  });

  test("slashes are found behind symbols of every length", () => {
    for (let symbol = 0; symbol < 256; symbol++) {
      if (symbol === 0x2f) continue;
      const coded = huffman(Buffer.from([symbol, 0x2f, symbol, symbol, 0x2f]));
      expect(slashPositions(coded), `symbol ${symbol}`).toHaveLength(2);
      expect(slashPositions(huffman(Buffer.from([symbol, symbol]))), `symbol ${symbol}`).toEqual([]);
    }
  });
});

describe("replacing", () => {
  const path = "/var/run/docker/libcontainerd/docker-containerd.sock";
  const dots = path.replaceAll("/", ".");

  test.each<Indexing>(["incremental", "none", "never"])(
    "a literal, %s indexed, Huffman-coded and plain",
    (indexing) => {
      for (const coded of [true, false]) {
        const block = (authority: string) =>
          Buffer.concat([
            indexed(3),
            literal(PATH, "/types.API/State", { coded }),
            literal(AUTHORITY, authority, { indexing, coded }),
            literal("x-path", "/a/b", { coded }),
          ]);
        const bytes = block(path);
        expect(authorityValues(bytes).map(hasSlash)).toEqual([true]);
        expect(replaceSlashes(bytes)).toBe(true);
        expect(bytes).toEqual(block(dots));
      }
    },
  );

  test("a path longer than one length byte can say", () => {
    const long = `/${"deep/".repeat(60)}x.sock`;
    for (const coded of [true, false]) {
      const bytes = literal(AUTHORITY, long, { coded });
      replaceSlashes(bytes);
      expect(bytes).toEqual(literal(AUTHORITY, long.replaceAll("/", "."), { coded }));
    }
  });

  test("after a change of the dynamic table's size, one with continuation bytes", () => {
    const block = (authority: string) =>
      Buffer.concat([integer(0, 5, 0x20), integer(4096, 5, 0x20), literal(AUTHORITY, authority)]);
    const bytes = block(path);
    replaceSlashes(bytes);
    expect(bytes).toEqual(block(dots));
  });

  test("a name from the dynamic table stays as it is, whatever it is", () => {
    const bytes = literal(FIRST_DYNAMIC + 3, path);
    expect(replaceSlashes(bytes)).toBe(false);
    // With six bits 63 and more take a second byte: 64 must not look like 1.
    const second = literal(64, path, { indexing: "incremental" });
    expect(replaceSlashes(second)).toBe(false);
  });

  test.each([
    ["a length that goes on for ever", "41ffffffffffffffffffffffffffffff7f"],
    ["a string that is cut off", "410a2f2f"],
    ["an integer that is cut off", "7fff"],
    ["a name without a value", "41"],
    ["an empty block", ""],
  ])("%s is left alone", (_, block) => {
    const bytes = hex(block);
    expect(replaceSlashes(bytes)).toBe(false);
    expect(bytes.toString("hex")).toBe(block);
  });
});

test("what nghttp2 encodes is read as it was meant", async () => {
  for (const authority of ["localhost", "/run/containerd/containerd.sock", "/a b/~{}/\\|^", "//"]) {
    const block = await blockOf(authority);
    const [value] = authorityValues(block);
    const { bytes, huffman: coded } = value!;
    expect(Buffer.from(bytes)).toEqual(coded ? huffman(authority) : Buffer.from(authority));
    expect(hasSlash(value!)).toBe(authority.includes("/"));
  }
});

/** The header block of Node's own client. */
async function blockOf(authority: string): Promise<Buffer> {
  let sent = Buffer.alloc(0);
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      sent = Buffer.concat([sent, chunk]);
      done();
    },
  });
  const session = connectHttp2("http://x", { createConnection: () => stream as unknown as Socket });
  session.on("error", () => {});
  session.request({ ":authority": authority, ":path": "/" }).on("error", () => {});
  await expect.poll(() => firstBlock(sent)).toBeDefined();
  session.destroy();
  return firstBlock(sent)!;
}

function firstBlock(sent: Buffer): Buffer | undefined {
  for (let at = preface.length, frame = frameHeaderAt(sent, at); frame; frame = frameHeaderAt(sent, at)) {
    if (frame.type === HEADERS) {
      const headers = headerFramesAt(sent, at);
      return typeof headers === "string" ? undefined : Buffer.concat(headers.fragments);
    }
    at += 9 + frame.length;
  }
  return undefined;
}
