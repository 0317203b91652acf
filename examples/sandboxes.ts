// 50 untrusted programs, 10 at a time, each with limits and a timeout:
// `node scripts/run-typescript.mjs examples/sandboxes.ts IMAGE [TIMEOUT]`.
import { connect, RunError } from "containerd-ts";

const image = process.argv[2] ?? "alpine:3.20";
/** In ms. */
const timeout = Number(process.argv[3] ?? 3000);

/** What people upload to a service that runs their code. */
const PROGRAMS = [
  "echo $((6 * 7))",
  "echo broken >&2; exit 3",
  "sleep 1000",
  "sh -c 'x=0123456789abcdef; while :; do x=$x$x$x$x; done'; sleep 0.5; echo survived",
  "wc -c",
];

await using client = connect();

async function judge(program: string): Promise<string> {
  try {
    const { stdout, stderr, status, oomKilled } = await client.run({
      image,
      args: ["sh", "-c", program],
      input: "some input\n",
      timeout,
      limits: { memory: 16 << 20, cpus: 0.5, pids: 16 },
      user: 65534,
    });
    return oomKilled ? "out of memory" : `status ${status}: ${(stdout + stderr).trim()}`;
  } catch (error) {
    if (error instanceof RunError) return error.timedOut ? "timed out" : "printed too much";
    throw error;
  }
}

const waiting = Array.from({ length: 50 }, (_, index) => index);
const verdicts = new Map<string, number>();
const worker = async () => {
  for (let index = waiting.shift(); index !== undefined; index = waiting.shift()) {
    const program = PROGRAMS[index % PROGRAMS.length]!;
    const line = `${program}\n  ${await judge(program)}`;
    verdicts.set(line, (verdicts.get(line) ?? 0) + 1);
  }
};
await Promise.all(Array.from({ length: 10 }, worker));
for (const [line, count] of verdicts) console.log(`${count} × ${line}`);
