import { expect, test } from "vitest";
import { encodeGrpcMessage } from "./grpc-message.js";

test.each([
  ["containerd: container not found", "containerd: container not found"],
  ['exit status 1: "50% \\"done\\" <>"', 'exit status 1: "50%25 \\"done\\" <>"'],
  ["line\nline\ttab\x7f", "line%0Aline%09tab%7F"],
  ["größer 世界 🐳", "gr%C3%B6%C3%9Fer %E4%B8%96%E7%95%8C %F0%9F%90%B3"],
  ["half a \ud83d pair", "half a %EF%BF%BD pair"],
  ["containerd: unknown container status ", "containerd: unknown container status%20"],
  ["", ""],
])("%j goes out as %j", (text, encoded) => {
  expect(encodeGrpcMessage(text)).toBe(encoded);
});

test("of a message that no client would take, both ends are kept", () => {
  const encoded = encodeGrpcMessage(`begin ${"x".repeat(1 << 20)} end`);
  expect(encoded.length).toBeLessThan(8300);
  expect(encoded).toMatch(/^begin x+ %E2%80%A6 x+ end$/);
});
