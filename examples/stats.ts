// A chart of what a container uses: `node scripts/run-typescript.mjs examples/stats.ts IMAGE [SECONDS]`.
import { connect } from "containerd-ts";

const image = process.argv[2] ?? "alpine:3.20";
const seconds = Number(process.argv[3] ?? 10);

await using client = connect();
// Works for half a second, rests for half a second, and keeps more and more in memory.
await using container = await client.containers.start({
  image,
  args: [
    "sh",
    "-c",
    "n=0; while :; do n=$((n+1)); timeout 0.5 sh -c 'while :; do :; done'; head -c 1m /dev/zero >/tmp/$n; sleep 0.5; done",
  ],
  limits: { cpus: 0.8, memory: 128 << 20, pids: 10 },
  tmpfs: ["/tmp"],
});

const bar = (share: number, width: number) => "█".repeat(Math.round(Math.min(share, 1) * width)).padEnd(width, "·");

const end = AbortSignal.timeout(seconds * 1000);
try {
  for await (const { cpu, memory, pids } of container.watchStats({ interval: 250, signal: end })) {
    const used = memory.usage / (1 << 20);
    const share = memory.limit ? memory.usage / memory.limit : 0;
    console.log(
      `cpu ${bar(cpu.share ?? 0, 20)} ${((cpu.share ?? 0) * 100).toFixed(0).padStart(3)} %  ` +
        `memory ${bar(share, 20)} ${used.toFixed(1).padStart(5)} MiB  processes ${pids.current}`,
    );
  }
} catch (error) {
  if (!end.aborted) throw error;
}
