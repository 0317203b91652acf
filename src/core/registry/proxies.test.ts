import { expect, test } from "vitest";
import { proxyFor } from "./proxies.js";

const both = { HTTP_PROXY: "http://p:1", HTTPS_PROXY: "https://user:secret@s:2" };

test("a proxy is that of the protocol, in capitals or not, with a scheme or without one", () => {
  expect(proxyFor(new URL("http://a.b"), both)?.host).toBe("p:1");
  expect(proxyFor(new URL("https://a.b"), both)?.host).toBe("s:2");
  expect(proxyFor(new URL("https://a.b"), { https_proxy: "low:3" })?.href).toBe("http://low:3/");
  expect(proxyFor(new URL("https://a.b"), { HTTP_PROXY: "http://p:1" })).toBeUndefined();
  expect(proxyFor(new URL("https://a.b"), {})).toBeUndefined();
});

test.each([
  ["https://localhost:5000", "", false],
  ["https://127.1.2.3", "", false],
  ["https://[::1]:5000", "", false],
  ["https://a.b.c", "*", false],
  ["https://a.b.c", "x.y, b.c", false],
  ["https://b.c", "b.c", false],
  ["https://a.b.c", ".b.c", false],
  ["https://b.c", ".b.c", true],
  ["https://a.b.c", "*.b.c", false],
  ["https://ab.c", "b.c", true],
  ["https://A.B.C", "a.b.c", false],
  ["https://a.b:5000", "a.b:5000", false],
  ["https://a.b:5001", "a.b:5000", true],
  ["https://a.b", "a.b:443", false],
  ["https://10.1.2.3", "10.0.0.0/8", false],
  ["https://11.1.2.3", "10.0.0.0/8", true],
  ["https://10.1.2.3", "10.1.2.3", false],
  ["https://[fd00::1]", "fd00::/8", false],
  ["https://[fd00::1]:5000", "[fd00::1]:5000", false],
  ["https://[fd00::1]", "fd00::1", false],
  ["https://a.b", "10.0.0.0/99,/8,::::,[,:80, , .", true],
])("%s with NO_PROXY=%s: by a proxy: %s", (url, NO_PROXY, isByProxy) => {
  expect(proxyFor(new URL(url), { ...both, NO_PROXY }) !== undefined).toBe(isByProxy);
});

test.each(["ftp://p", "http://", "http://user:secret@:x", "socks5://secret"])(
  "%s is refused, and not shown",
  (text) => {
    const get = () => proxyFor(new URL("http://a.b"), { HTTP_PROXY: text });
    expect(get).toThrow("invalid HTTP_PROXY");
    expect(get).not.toThrow("secret");
  },
);
