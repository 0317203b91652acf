/** What a process in a network namespace can reach, and servers for it: programs of Node's that a test starts there. */
import type { ChildProcess } from "node:child_process";
import type { NetworkNamespace } from "./network-namespace.js";
import { eventually } from "./wait.js";

/** `refused`: by a reset or ICMP, at once; `silent`: nobody has answered for some seconds; the kernel's errors have their names. */
export type Reached = "open" | "refused" | "silent" | string;

const CONNECT = `
const [host, port, source] = process.argv.slice(1);
const socket = require("node:net").connect({ host, port: Number(port), ...(source && { localAddress: source }) });
socket.setTimeout(3000, () => done("silent"));
socket.on("data", () => done("open"));
socket.on("error", ({ code }) => done(code === "ECONNREFUSED" || code === "EHOSTUNREACH" ? "refused" : code));
socket.on("end", () => done("closed"));
function done(what) { console.log(what); process.exit(); }
`;

const SERVE = `
const net = require("node:net");
for (const port of process.argv.slice(1)) {
  net.createServer((socket) => {
    console.log("from " + socket.remoteAddress);
    socket.on("error", () => {}).on("data", () => socket.write("more")).write("hello");
  }).listen(Number(port), "::", () => console.log("listens at " + port));
}
`;

/** Whether a TCP connection can be made; one that can comes from a server of {@link serve}. @param source the address to come from */
export async function connectFrom(from: NetworkNamespace, host: string, port: number, source = ""): Promise<Reached> {
  const { stdout, stderr } = await from.attempt([process.execPath, "-e", CONNECT, host, String(port), source]);
  return stdout.trim() || stderr;
}

/** TCP servers that say hello, on all addresses. Answers what was printed: a line `from ADDRESS` for each connection. */
export async function serve(
  inside: NetworkNamespace,
  ...ports: number[]
): Promise<{ child: ChildProcess; said: () => string }> {
  const child = inside.spawn(process.execPath, "-e", SERVE, ...ports.map(String));
  let said = "";
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on("data", (data) => {
      said += data;
    });
  }
  await eventually(() => ports.every((port) => said.includes(`listens at ${port}\n`)));
  return { child, said: () => said };
}
