// How many calls a second the daemon answers on a connection whose :authority is legal (served natively) and on one that sends a socket
// path (patched in JavaScript): node bench/authority.mjs [seconds] [callers]
// The client is nothing but frames made in advance, so that it is not what is measured.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const [seconds = "5", callers = "16"] = process.argv.slice(2);
const directory = mkdtempSync("/tmp/ctd-bench-");
const socketPath = join(directory, "s");
const program = fileURLToPath(new URL("../dist/bin/containerd.js", import.meta.url));
const daemon = spawn(
  process.execPath,
  [program, "-l", `unix://${socketPath}`, "--state-dir", join(directory, "state")],
  {
    stdio: "ignore",
  },
);

// Whatever ends this.
process.on("exit", () => {
  daemon.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

function frame(type, flags, streamId, payload) {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, payload]);
}

/** A literal with incremental indexing (RFC 7541, 6.2.1): later requests refer to its entry in the dynamic table, as grpc-go's do. */
function literal(name, value) {
  const text = (string) => Buffer.concat([Buffer.from([string.length]), Buffer.from(string)]);
  return Buffer.concat([
    typeof name === "number" ? Buffer.from([0x40 | name]) : Buffer.concat([Buffer.from([0x40]), text(name)]),
    text(value),
  ]);
}

/** CPU time of the daemon so far, in µs: what a busy machine does not blur. */
function cpuTime() {
  const stat = readFileSync(`/proc/${daemon.pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

async function measure(authority) {
  const socket = connect(socketPath);
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  const first = Buffer.concat([
    Buffer.from([0x83, 0x86]), // :method POST, :scheme http
    literal(4, "/types.API/GetServerVersion"),
    literal(1, authority),
    literal("content-type", "application/grpc"),
    literal("te", "trailers"),
  ]);
  const later = Buffer.from([0x83, 0x86, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62]);
  const request = (id) => Buffer.concat([frame(1, 4, id, id === 1 ? first : later), frame(0, 1, id, Buffer.alloc(5))]);
  let nextId = 1;
  let calls = 0;
  let received = Buffer.alloc(0);
  socket.write(
    Buffer.concat([
      Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
      frame(4, 0, 0, Buffer.alloc(0)),
      frame(8, 0, 0, Buffer.from([0x3f, 0xff, 0, 0])),
    ]),
  );
  const start = () => {
    const id = nextId;
    nextId += 2;
    return request(id);
  };
  socket.on("data", (chunk) => {
    received = received.length ? Buffer.concat([received, chunk]) : chunk;
    const out = [];
    let at = 0;
    while (received.length - at >= 9) {
      const length = received.readUIntBE(at, 3);
      if (received.length - at < 9 + length) break;
      const type = received[at + 3];
      const flags = received[at + 4];
      if (type === 4 && !(flags & 1)) out.push(frame(4, 1, 0, Buffer.alloc(0)));
      if (type === 6 && !(flags & 1)) out.push(frame(6, 1, 0, received.subarray(at + 9, at + 17)));
      if (type === 3)
        throw new Error(`stream ${received.readUInt32BE(at + 5)} reset: ${received.readUInt32BE(at + 9)} ${authority}`);
      if (type === 1 && flags & 1) {
        calls++;
        out.push(start());
      }
      at += 9 + length;
    }
    received = received.subarray(at);
    if (out.length) socket.write(Buffer.concat(out));
  });
  // The server's SETTINGS come before the first request, as with grpc clients of today.
  await new Promise((resolve) => socket.once("data", resolve));
  await sleep(50);
  socket.write(start());
  await sleep(200);
  socket.write(Buffer.concat(Array.from({ length: Number(callers) - 1 }, start)));
  const before = calls;
  const began = performance.now();
  const cpu = cpuTime();
  await sleep(Number(seconds) * 1000);
  const rate = (calls - before) / ((performance.now() - began) / 1000);
  const cost = (cpuTime() - cpu) / (calls - before);
  socket.destroy();
  return `${Math.round(rate)} calls/s, ${cost.toFixed(1)} µs of CPU each`;
}

for (let tries = 0; tries < 100; tries++) {
  await sleep(50);
  const answered = await new Promise((resolve) => {
    const probe = connect(socketPath, () => resolve(true)).on("error", () => resolve(false));
    probe.on("connect", () => probe.destroy());
  });
  if (answered) break;
}
for (let round = 0; round < 2; round++)
  for (const authority of ["localhost", "/var/run/docker/libcontainerd/docker-containerd.sock"])
    console.log(`${authority}: ${await measure(authority)}`);
process.exit();
