/**
 * What is outside: a name server, and servers at ports 80, 81 and 5432 that say hello. `ip-10-99-0-3.NAME` has that address,
 * `alias-10-99-0-3.NAME` is another name of it, `short-…` for a second. Each question is a line of its stdout.
 */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";

function nameBytes(name) {
  return Buffer.concat([
    ...name.split(".").map((label) => Buffer.from([label.length, ...Buffer.from(label)])),
    Buffer.of(0),
  ]);
}

function answer(packet) {
  const labels = [];
  let at = 12;
  for (; packet[at] !== 0; at += packet[at] + 1) labels.push(packet.toString("latin1", at + 1, at + 1 + packet[at]));
  const name = labels.join(".").toLowerCase();
  const type = packet.readUInt16BE(at + 1);
  console.log(`${name} ${type}`);
  const [, kind, a, b, c, d] = /^(ip|alias|short)-(\d+)-(\d+)-(\d+)-(\d+)\./.exec(name) ?? [];
  const records = [];
  const add = (owner, of, data) =>
    records.push(
      Buffer.concat([owner, Buffer.from([0, of, 0, 1, 0, 0, 0, kind === "short" ? 1 : 30, 0, data.length]), data]),
    );
  const question = Buffer.of(0xc0, 12);
  if (kind !== undefined && type === 1) {
    const address = Buffer.from([a, b, c, d].map(Number));
    const other = nameBytes("target.nowhere.test");
    if (kind === "alias") add(question, 5, other);
    add(kind === "alias" ? other : question, 1, address);
  }
  const head = Buffer.from(packet.subarray(0, 12));
  head.writeUInt16BE(kind === undefined ? 0x8183 : 0x8180, 2);
  head.writeUInt16BE(records.length, 6);
  head.writeUInt32BE(0, 8);
  return Buffer.concat([head, packet.subarray(12, at + 5), ...records]);
}

const udp = createSocket("udp4");
udp.on("message", (packet, from) => udp.send(answer(packet), from.port, from.address));
const tcp = createServer((socket) => {
  socket.on("error", () => {});
  socket.on("data", (data) => {
    const reply = answer(data.subarray(2));
    socket.end(Buffer.concat([Buffer.of(reply.length >> 8, reply.length & 255), reply]));
  });
});
const hello = (port) =>
  new Promise((resolve) => {
    const server = createServer((socket) => {
      console.log(`hello ${socket.remoteAddress}`);
      socket.on("error", () => {}).on("data", () => socket.write("more\n"));
      // One that stays, to be told more.
      if (port === 81) socket.write("hello\n");
      else socket.end("hello\n");
    });
    server.listen(port, "::", resolve);
  });
await Promise.all([
  new Promise((resolve) => udp.bind(53, "0.0.0.0", resolve)),
  new Promise((resolve) => tcp.listen(53, "0.0.0.0", resolve)),
  ...[80, 81, 5432].map(hello),
]);
console.log("ready");
