// A shell with a terminal, connected to this one: `node scripts/run-typescript.mjs examples/shell.ts [IMAGE]`.
import { once } from "node:events";
import { connect } from "containerd-ts";

await using client = connect();
await using container = await client.containers.start({
  image: process.argv[2] ?? "alpine:3.20",
  args: ["sh"],
  tty: true,
  stdio: "pipe",
  owned: true,
  hostname: "shell",
});
const { stdin, stdout } = container;

const resize = () => {
  // A shell that has just ended has no size any more.
  if (process.stdout.isTTY) container.process?.resize(process.stdout.columns, process.stdout.rows).catch(() => {});
};
resize();
process.stdout.on("resize", resize);
// Every key goes to the shell, also Ctrl-C.
if (process.stdin.isTTY) process.stdin.setRawMode(true);
process.stdin.pipe(stdin);
stdin.on("error", () => {});
stdout.pipe(process.stdout, { end: false });

try {
  const ended = once(stdout, "end");
  process.exitCode = (await container.wait()).status;
  await ended;
} finally {
  if (process.stdin.isTTY) process.stdin.setRawMode(false);
  process.stdin.unpipe(stdin).destroy();
}
