import fc from "fast-check";
import { expect, test } from "vitest";
import { parseNetDev, readNetworkStats } from "./proc-net-dev.js";

const HEADING = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
`;

test("each column in its place", () => {
  expect(
    parseNetDev(
      `${HEADING}  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\neth0:1:18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n`,
    ),
  ).toEqual([
    {
      name: "eth0",
      received: { bytes: 1n, packets: 2n, errors: 3n, dropped: 4n },
      sent: { bytes: 9n, packets: 10n, errors: 11n, dropped: 12n },
    },
    expect.objectContaining({
      name: "eth0:1",
      received: { bytes: 18446744073709551615n, packets: 0n, errors: 0n, dropped: 0n },
    }),
  ]);
});

test("numbers of any size come back", () => {
  const counters = fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { minLength: 16, maxLength: 16 });
  fc.assert(
    fc.property(counters, (columns) => {
      const [stats] = parseNetDev(`${HEADING}veth1a2b: ${columns.join("   ")}\n`);
      expect([stats?.received.bytes, stats?.sent.dropped]).toEqual([columns[0], columns[11]]);
    }),
  );
});

test("this process's interfaces, without lo", () => {
  expect(readNetworkStats(process.pid).map(({ name }) => name)).not.toContain("lo");
  expect(() => readNetworkStats(5_000_000)).toThrow("ENOENT");
});
