// One command in a container of its own: `node scripts/run-typescript.mjs examples/hello.ts [IMAGE]`.
import { connect } from "containerd-ts";

await using client = connect();
const { stdout, status } = await client.run({
  image: process.argv[2] ?? "alpine:3.20",
  args: ["sh", "-c", "echo Hello from $(hostname)"],
  hostname: "my-first-container",
});
process.stdout.write(stdout);
console.log(`exit status ${status}`);
