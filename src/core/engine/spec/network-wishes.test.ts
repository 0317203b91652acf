import { expect, test } from "vitest";
import type { NetworkAttachment, NetworkMode, PortMapping } from "../container-config.js";
import { checkNetworkWishes } from "./network-wishes.js";

const attached = (...wishes: Partial<NetworkAttachment>[]): NetworkMode => ({
  mode: "attached",
  networks: wishes.map((wish) => ({ network: "one", aliases: [], address: "", address6: "", mac: "", ...wish })),
});
const port = (wish: Partial<PortMapping>): PortMapping => ({
  ...{ protocol: "tcp", containerPort: 80, hostAddress: "", hostPort: 0, hostPortEnd: 0 },
  ...wish,
});

test("what can be had of networks", () => {
  const mac = "02:42:AC:11:00:02";
  const network = attached(
    { aliases: ["db", "a.b-c"], address: "10.1.0.2", address6: "fd00::2", mac },
    { network: "two" },
  );
  const ports = [
    port({}),
    port({ hostPort: 80, hostPortEnd: 90 }),
    port({ hostPort: 80 }),
    port({ hostPort: 80, protocol: "udp" }),
    port({ hostPort: 81, hostAddress: "127.0.0.1" }),
    port({ hostPort: 81, hostAddress: "::1" }),
  ];
  const egress = ["a.example:443", "10.0.0.0/8:5432"];
  expect(() => checkNetworkWishes({ network, ports, publishAll: true, egress })).not.toThrow();
});

test.each([
  [{ network: { mode: "none" as const }, ports: [port({})] }, 'this one has network "none"'],
  [{ network: { mode: "host" as const }, ports: [port({})] }, "are the host's own"],
  [{ network: { mode: "host" as const }, publishAll: true }, "publishAll"],
  [{ network: attached({}), egress: ["a.example:443", "b c"] }, 'egress "b c"'],
  [{ network: attached({}), egress: ["a.example"], privileged: true }, 'egress "a.example": a privileged container'],
  [{ network: { mode: "none" as const }, egress: [] }, "it needs a network"],
  [{ network: { mode: "host" as const }, egress: ["a.example"] }, "it is not kept in a network of the host's"],
  [{ network: { mode: "path" as const, path: "/run/netns/a" }, egress: ["a.example"] }, "it is not kept"],
  [{ network: { mode: "container" as const, container: "a" }, egress: ["a"] }, "has that one's egress"],
  [{ network: attached({ network: "" }) }, "networks[0].network"],
  [{ network: attached({ aliases: ["a b"] }) }, "networks[0].aliases"],
  [{ network: attached({ address: "fd00::1" }) }, "no IPv4 address"],
  [{ network: attached({ address6: "1.2.3.4" }) }, "no IPv6 address"],
  [{ network: attached({ mac: "01:00:5e:00:00:01" }) }, "networks[0].mac"],
  [{ network: attached({ mac: "02:42" }) }, "networks[0].mac"],
  [{ network: attached({}), ports: [port({ containerPort: 0 })] }, "ports[0].containerPort"],
  [{ network: attached({}), ports: [port({ hostPort: 65_536 })] }, "ports[0].hostPort"],
  [{ network: attached({}), ports: [port({ hostPort: 90, hostPortEnd: 80 })] }, "ports[0].hostPortEnd"],
  [{ network: attached({}), ports: [port({ hostPortEnd: 80 })] }, "ports[0].hostPort"],
  [{ network: attached({}), ports: [port({ hostAddress: "localhost" })] }, "ports[0].hostAddress"],
  [{ network: attached({}), ports: [port({ hostPort: 80 }), port({ hostPort: 80, hostAddress: "::1" })] }, "ports[1]"],
])("refuses %j", (wishes, why) => {
  expect(() => checkNetworkWishes(wishes)).toThrow(why);
});
