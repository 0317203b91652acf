// A shell with a terminal, connected to this one: `node scripts/run-typescript.mjs examples/shell.ts ROOTFS`.
import { once } from "node:events";
import { connect } from "containerd-ts";

const rootfs = process.argv[2] ?? "/srv/rootfs";

await using client = connect();
await using container = await client.v0.containers.start({ rootfs, args: ["sh"], terminal: true, hostname: "shell" });
const { init } = container;

const resize = () => {
  // A shell that has just ended has no size any more.
  if (process.stdout.isTTY) init.resize(process.stdout.columns, process.stdout.rows).catch(() => {});
};
resize();
process.stdout.on("resize", resize);
// Every key goes to the shell, also Ctrl-C.
if (process.stdin.isTTY) process.stdin.setRawMode(true);
process.stdin.pipe(init.stdin);
init.stdin.on("error", () => {});
init.stdout.pipe(process.stdout, { end: false });

try {
  const ended = once(init.stdout, "end");
  process.exitCode = (await init.wait()).status;
  await ended;
} finally {
  if (process.stdin.isTTY) process.stdin.setRawMode(false);
  process.stdin.unpipe(init.stdin).destroy();
}
