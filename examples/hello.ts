// One command in a container of its own: `node scripts/run-typescript.mjs examples/hello.ts ROOTFS`.
import { connect } from "containerd-ts";

const rootfs = process.argv[2] ?? "/srv/rootfs";

await using client = connect();
const { stdout, status } = await client.v0.run({
  rootfs,
  args: ["sh", "-c", "echo Hello from $(hostname)"],
  hostname: "my-first-container",
});
process.stdout.write(stdout);
console.log(`exit status ${status}`);
