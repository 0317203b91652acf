/**
 * Asks name servers in the network namespace that it runs in. Each line of its stdin is a JSON request, each of its stdout the answer to
 * one, with its `id`:
 * `{ask: [NAME, TYPE]}` by Node's resolver, `{packet: HEX, protocol}` as it is (an answer of null: none came in time), `{connect: COUNT}`.
 */

import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import { connect } from "node:net";
import { createInterface } from "node:readline";

const SERVER = "127.0.0.11";

function datagram(packet, wait) {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    const end = (answer) => {
      clearTimeout(timeout);
      socket.close();
      resolve(answer);
    };
    const timeout = setTimeout(() => end(null), wait);
    socket.once("error", (error) => end(error.code));
    socket.once("message", (answer, from) =>
      end({ answer: answer.toString("hex"), from: `${from.address}:${from.port}` }),
    );
    socket.send(packet, 53, SERVER);
  });
}

function stream(packet, wait) {
  return new Promise((resolve) => {
    const socket = connect(53, SERVER);
    let data = Buffer.alloc(0);
    const end = (answer) => {
      clearTimeout(timeout);
      socket.destroy();
      resolve(answer);
    };
    const timeout = setTimeout(() => end(null), wait);
    socket.once("error", (error) => end(error.code));
    socket.once("close", () => end("closed"));
    socket.on("data", (more) => {
      data = Buffer.concat([data, more]);
      if (data.length >= 2 && data.length >= 2 + data.readUInt16BE()) end({ answer: data.toString("hex", 2) });
    });
    const length = Buffer.alloc(2);
    length.writeUInt16BE(packet.length);
    socket.write(Buffer.concat([length, packet]));
  });
}

const idle = [];
function connectIdle() {
  return new Promise((resolve) => {
    const socket = connect(53, SERVER, () => resolve(null));
    socket.once("error", () => resolve(null));
    socket.write("\0");
    idle.push(socket);
  });
}

async function flood(packet, count) {
  const socket = createSocket("udp4");
  let answers = 0;
  socket.on("message", () => answers++);
  for (let n = 0; n < count; n++) {
    socket.send(packet, 53, SERVER);
    if (n % 100 === 99) await new Promise((resolve) => setImmediate(resolve));
  }
  socket.close();
  return answers;
}

/** How long each of so many questions took, one after the other, in µs. */
async function measure(packet, count, port, address) {
  const socket = createSocket("udp4");
  const times = [];
  await new Promise((resolve) => socket.connect(port, address, resolve));
  for (let n = 0; n < count; n++) {
    const started = process.hrtime.bigint();
    await new Promise((resolve) => {
      socket.once("message", resolve);
      socket.send(packet);
    });
    times.push(Number(process.hrtime.bigint() - started) / 1000);
  }
  socket.close();
  return times;
}

async function answer({
  ask,
  packet,
  protocol,
  wait = 1000,
  idle: count,
  flood: many,
  measure: times,
  port = 53,
  address = SERVER,
}) {
  if (times !== undefined) return measure(Buffer.from(packet, "hex"), times, port, address);
  if (many !== undefined) return flood(Buffer.from(packet, "hex"), many);
  if (count !== undefined) return Promise.all(Array.from({ length: count }, connectIdle));
  if (packet !== undefined) return (protocol === "tcp" ? stream : datagram)(Buffer.from(packet, "hex"), wait);
  const resolver = new Resolver({ timeout: 1_000, tries: 30 });
  resolver.setServers([SERVER]);
  return resolver.resolve(...ask).catch((error) => error.code);
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, ...request } = JSON.parse(line);
  answer(request).then(
    (result) => console.log(JSON.stringify({ id, result })),
    (error) => console.log(JSON.stringify({ id, error: error.message })),
  );
});
console.log(JSON.stringify({ ready: true }));
