import { expect, test } from "vitest";
import { type PortOption, portCheck, portMessages } from "./port-options.js";

/** As [containerPort, hostPort, hostPortEnd, hostAddress, protocol]. */
const of = (port: PortOption) =>
  portMessages(port).map(({ containerPort, hostPort, hostPortEnd, hostAddress, protocol }) => [
    ...[containerPort, hostPort, hostPortEnd, hostAddress, protocol],
  ]);

test.each<[PortOption, unknown[][]]>([
  ["80", [[80, 0, 0, "", "tcp"]]],
  [80, [[80, 0, 0, "", "tcp"]]],
  ["8080:80", [[80, 8080, 0, "", "tcp"]]],
  ["0:80", [[80, 0, 0, "", "tcp"]]],
  [":80", [[80, 0, 0, "", "tcp"]]],
  ["8080:80/udp", [[80, 8080, 0, "", "udp"]]],
  ["127.0.0.1:8080:80", [[80, 8080, 0, "127.0.0.1", "tcp"]]],
  ["127.0.0.1::80/udp", [[80, 0, 0, "127.0.0.1", "udp"]]],
  ["[::1]:8080:80", [[80, 8080, 0, "::1", "tcp"]]],
  ["[fd00::1]::80", [[80, 0, 0, "fd00::1", "tcp"]]],
  ["8000-8010:80", [[80, 8000, 8010, "", "tcp"]]],
  [
    "80-81",
    [
      [80, 0, 0, "", "tcp"],
      [81, 0, 0, "", "tcp"],
    ],
  ],
  [
    "127.0.0.1:8000-8001:90-91/udp",
    [
      [90, 8000, 0, "127.0.0.1", "udp"],
      [91, 8001, 0, "127.0.0.1", "udp"],
    ],
  ],
  [{ container: 80 }, [[80, 0, 0, "", "tcp"]]],
  [{ container: 53, host: "5300-5310", hostAddress: "::1", protocol: "udp" }, [[53, 5300, 5310, "::1", "udp"]]],
])("%j", (given, expected) => {
  expect(() => portCheck(given, "ports[0]")).not.toThrow();
  expect(of(given)).toEqual(expected);
});

test.each<[unknown, string]>([
  ["", 'ports[0] must be "8080:80"'],
  ["http", 'not "http"'],
  ["80:http", 'not "80:http"'],
  ["0", 'a port from 1 to 65535, or a range that grows, not "0"'],
  ["70000:80", 'a port from 1 to 65535, or a range that grows, not "70000:80"'],
  ["8080:80/sctp", 'ports[0] must be a port of "tcp" or "udp", not "8080:80/sctp"'],
  ["localhost:8080:80", 'ports[0] must be a port with an address of the host\'s in numbers, not "localhost:8080:80"'],
  ["1:2:3:4", 'not "1:2:3:4"'],
  ["::1:8080:80", 'not "::1:8080:80"'],
  ["8010-8000:80", "a range that grows"],
  ["8000-8001:90-92", 'ports[0] must be ranges of the same length, not "8000-8001:90-92"'],
  [0, "ports[0] must be a port, 1 to 65535, not 0"],
  [{ host: 80 }, "ports[0].container must be a port"],
  [{ container: 80, host: "a" }, 'ports[0].host must be a port, 0 to 65535, or a range like "8000-8010", not "a"'],
  [{ container: 80, hostAddress: "eth0" }, "ports[0].hostAddress must be an address of the host"],
  [{ container: 80, protocol: "sctp" }, 'ports[0].protocol must be "tcp" or "udp"'],
  [null, "ports[0] must be"],
])("%j is refused", (given, message) => {
  expect(() => portCheck(given, "ports[0]")).toThrow(message);
});
