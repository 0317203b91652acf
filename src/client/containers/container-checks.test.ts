import { expect, test } from "vitest";
import { connect } from "../index.js";

// Nothing is listening there: what passes the checks fails with another error.
const client = connect("unix:///no/such.sock");

test.each<[string, object, string]>([
  ["nothing to run", { image: undefined }, "either image or rootfs must be given, and none is"],
  ["two roots", { rootfs: "/r", args: ["a"] }, "either image or rootfs must be given, not both"],
  ["an unknown option", { imag: "x" }, 'unknown option imag ("x")'],
  ["a limit", { limits: { memory: 0 } }, "limits.memory must be a positive number of bytes, not 0"],
  ["an unknown limit", { limits: { cpu: 1 } }, "unknown option limits.cpu (1)"],
  ["processors", { limits: { cpusetCpus: "a" } }, 'limits.cpusetCpus must be processors, like "0-2,7", not "a"'],
  [
    "a mount",
    { mounts: [{ source: "/a", destination: "b" }] },
    'mounts[0].destination must be an absolute path, not "b"',
  ],
  ["a tmpfs", { tmpfs: { "/tmp": { mode: 1e9 } } }, "tmpfs./tmp.mode must be the mode of a directory"],
  ["a capability", { capabilities: { add: ["FLY"] } }, "capabilities.add[0] must be the name of a capability"],
  ["an ulimit", { ulimits: { nofile: "many" } }, "ulimits.nofile must be a number, or { soft, hard }"],
  ["a user", { user: "a:b:c" }, 'user must be a name, "name:group"'],
  ["a network", { network: "a b" }, 'network must be "none", "host", "bridge", the name of a network, { container }'],
  [
    "an attachment",
    { network: { name: "a", alias: "b" } },
    'unknown option network.alias ("b"), allowed are name, aliases',
  ],
  [
    "an address",
    { network: { name: "a", address: "10.0.0" } },
    'network.address must be an IPv4 address, not "10.0.0"',
  ],
  ["networks", { network: ["a", "host"] }, "network[1] must be the name or id of a network"],
  ["a network twice", { network: ["a", { name: "a" }] }, 'network has "a" twice'],
  [
    "ports without a network",
    { network: "host", ports: ["80:80"] },
    'ports need a network of the container\'s own, not "host"',
  ],
  ["a name server", { dns: ["one.example.org"] }, 'dns[0] must be an address of a name server, not "one.example.org"'],
  ["an ipc", { ipc: "all" }, 'ipc must be "private", "host", "shareable", "none", { container }, not "all"'],
  ["a userns", { userns: { uids: [] } }, "userns.gids must be"],
  ["a signal", { stopSignal: "SIGNOTHING" }, 'stopSignal must be the name of a signal, like "SIGTERM"'],
  ["a policy", { pull: "sometimes" }, 'pull must be "missing" or "always" or "never", not "sometimes"'],
  ["a host", { hosts: { db: "nowhere!" } }, "hosts.db must be an address"],
  ["a writable image", { readOnly: false, writable: false }, "readOnly: false needs writable: true"],
  ["an image's name", { image: "UPPER CASE" }, "UPPER CASE"],
  ["a directory", { workdir: "here" }, 'workdir must be an absolute path, not "here"'],
])("%s", async (_, options, message) => {
  await expect(client.run({ image: "alpine", ...options } as never)).rejects.toThrow(message);
});

test("what is right is asked of the daemon", async () => {
  const all = {
    image: "alpine",
    limits: { memory: 1 << 20, memorySwap: -1, cpus: 0.5, pids: 5, unified: { "memory.high": "1" } },
    ulimits: { core: { soft: 0, hard: -1 } },
    hosts: { db: "10.0.0.1", six: "::1" },
    devices: ["/dev/fuse", { source: "/dev/null", destination: "/dev/x", permissions: "rw" }],
    capabilities: { drop: ["ALL"], add: ["net_admin"] },
    user: 1000,
    groupAdd: ["audio", 5],
    sysctls: { "net.ipv4.ip_forward": 1 },
    tmpfs: ["/tmp"],
    pid: { container: "web" },
    network: ["front", { name: "back", aliases: ["db"], address: "10.1.0.5", mac: "02:42:ac:11:00:02" }],
    ports: ["8080:80", 443, { container: 53, protocol: "udp", hostAddress: "127.0.0.1" }],
    dns: ["10.0.0.53"],
    userns: { uids: [{ inside: 0, outside: 1000, length: 1 }], gids: [{ inside: 0, outside: 1000, length: 1 }] },
  } as const;
  await expect(client.run(all)).rejects.toMatchObject({ kind: "unreachable" });
});
