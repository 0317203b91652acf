/**
 * A name server: `name-server.mjs ADDRESS PORT`. Every name has the address 192.0.2.1, and an IPv6 address; the first label says what else
 * is to happen. Each question is a line of its stdout: `PROTOCOL NAME TYPE LENGTH`.
 */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";

const [address, port] = process.argv.slice(2);

function answer(packet, protocol) {
  const labels = [];
  let at = 12;
  while (packet[at] !== 0) {
    labels.push(packet.toString("latin1", at + 1, at + 1 + packet[at]));
    at += packet[at] + 1;
  }
  const type = packet.readUInt16BE(at + 1);
  const question = packet.subarray(12, at + 5);
  console.log(`${protocol} ${labels.join(".")} ${type} ${packet.length}`);
  const head = Buffer.from(packet.subarray(0, 12));
  const records = [];
  const add = (data) => {
    const record = Buffer.from([0xc0, 0x0c, 0, type, 0, 1, 0, 0, 0, 60, 0, data.length, ...data]);
    records.push(record);
  };
  let flags = 0x8180;
  const [what] = labels;
  if (what === "silent") return undefined;
  if (what === "nowhere") flags |= 3;
  else if (what === "failing") flags |= 2;
  else if (what === "long" && protocol === "udp") flags |= 0x0200;
  else if (what === "long") for (let n = 0; n < 200; n++) add([192, 0, 2, n]);
  else if (type === 1) add([192, 0, 2, 1]);
  else if (type === 28) add([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  head.writeUInt16BE(flags, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(records.length, 6);
  head.writeUInt32BE(0, 8);
  const whole = Buffer.concat([head, question, ...records]);
  // Somebody else's answer comes first: it has another id.
  const forged = Buffer.from(whole);
  forged[0] ^= 0xff;
  return what === "forged" ? [forged, whole] : [whole];
}

const udp = createSocket(address.includes(":") ? "udp6" : "udp4");
udp.on("message", (packet, from) => {
  for (const reply of answer(packet, "udp") ?? []) udp.send(reply, from.port, from.address);
});
const tcp = createServer((socket) => {
  socket.on("error", () => {});
  socket.on("data", (data) => {
    const [reply] = answer(data.subarray(2), "tcp") ?? [];
    if (reply === undefined) return;
    const length = Buffer.alloc(2);
    length.writeUInt16BE(reply.length);
    socket.write(Buffer.concat([length, reply]));
  });
});
tcp.listen(Number(port), address, () => udp.bind(Number(port), address, () => console.log("ready")));
