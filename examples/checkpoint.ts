// Saves a running container to disk and goes on with it later (needs CRIU):
// `node scripts/run-typescript.mjs examples/checkpoint.ts ROOTFS`.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connect, createBundle, type v0 } from "containerd-ts";

const rootfs = process.argv[2] ?? "/srv/rootfs";

await using client = connect();
// A bundle of our own: it is needed twice.
await using bundle = await createBundle({
  rootfs,
  args: ["sh", "-c", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done"],
  hostname: "counter",
});
const directory = await mkdtemp(join(tmpdir(), "checkpoints-"));

/** Reads numbers until there have been so many; the last one. */
async function count(container: v0.StartedContainer, lines: number): Promise<number> {
  let last = 0;
  for await (const line of createInterface({ input: container.init.stdout })) {
    last = Number(line);
    if (--lines === 0) break;
  }
  return last;
}

try {
  {
    await using container = await client.v0.containers.start({ bundle: bundle.path });
    console.log(`counted to ${await count(container, 10)}`);
    await container.checkpoint("ten", { directory, exit: true });
    await container.wait();
    console.log("saved, and ended");
  }
  await using container = await client.v0.containers.start({
    bundle: bundle.path,
    checkpoint: "ten",
    checkpointDir: directory,
  });
  console.log(`restored, counted on to ${await count(container, 10)}`);
} finally {
  await rm(directory, { recursive: true, force: true });
}
