import fc from "fast-check";
import { expect, test } from "vitest";
import {
  attribute,
  byteAttribute,
  decodeAttributes,
  decodeMessages,
  encodeMessage,
  nestedAttribute,
  textAttribute,
  textOf,
  wordAttribute,
} from "./netlink-message.js";

const bytes = (max: number) => fc.uint8Array({ maxLength: max }).map((array) => Buffer.from(array));

test("messages are read as they were written, several at once", () => {
  const message = fc.record({ type: fc.nat(0xffff), flags: fc.nat(0xffff), body: bytes(200) });
  fc.assert(
    fc.property(fc.array(message, { maxLength: 8 }), (messages) => {
      const data = Buffer.concat(messages.map((one, index) => encodeMessage(one, index + 1)));
      expect(decodeMessages(data)).toEqual(messages.map((one, index) => ({ ...one, sequence: index + 1 })));
    }),
  );
});

test("attributes are read as they were written", () => {
  const attributes = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 0x3fff }), bytes(100)), {
    selector: ([type]) => type,
  });
  fc.assert(
    fc.property(attributes, (all) => {
      expect(decodeAttributes(Buffer.concat(all.map(([type, value]) => attribute(type, value))))).toEqual(new Map(all));
    }),
  );
  const nested = nestedAttribute(5, textAttribute(1, "eth0"), byteAttribute(2, 7), wordAttribute(3, 70_000));
  const inside = decodeAttributes(decodeAttributes(nested).get(5)!);
  expect(textOf(inside.get(1))).toBe("eth0");
  expect(inside.get(2)).toEqual(Buffer.of(7));
  expect(inside.get(3)!.readUInt32LE(0)).toBe(70_000);
  expect(textOf(undefined)).toBe("");
});

test("whatever comes, reading it comes to an end", () => {
  fc.assert(
    fc.property(bytes(300), (data) => {
      decodeMessages(data);
      decodeAttributes(data);
    }),
  );
});
