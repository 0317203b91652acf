// A job of a CI: its files go in, its steps tell as they go, its artefacts come out; Ctrl-C cancels it.
// `node scripts/run-typescript.mjs examples/ci-runner.ts IMAGE ARTEFACTS.tar`.
import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { connect } from "containerd-ts";

const [image = "alpine:3.20", artefacts = "artefacts.tar"] = process.argv.slice(2);

const job = {
  files: { "test.sh": 'echo "checking $1"; test -f "$1"', "src/main.txt": "hello\n" },
  steps: [
    { name: "build", run: "mkdir -p out && tr a-z A-Z <src/main.txt >out/main.txt && echo built" },
    { name: "test", run: "sh test.sh out/main.txt" },
    { name: "report", run: "wc -c out/main.txt >out/report; echo warned >&2" },
  ],
};

const cancelled = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => cancelled.abort(new Error(signal)));
const { signal } = cancelled;

await using client = connect();
// It goes with this program, also when that is killed: no machine fills up with jobs that nobody waits for.
await using container = await client.containers.start({
  image,
  args: ["sleep", "infinity"],
  init: true,
  owned: true,
  env: { CI: "true" },
  limits: { memory: 1 << 30, pids: 500 },
  labels: { job: String(process.pid) },
  onProgress: ({ event, name }) => console.log(event, name),
  signal,
});
await container.putFiles("/work", job.files, { signal });

try {
  for (const { name, run } of job.steps) {
    console.log(`== ${name}`);
    const { status, duration } = await container.exec(["sh", "-ec", run], {
      workdir: "/work",
      timeout: 600_000,
      onStdout: (text) => process.stdout.write(text),
      onStderr: (text) => process.stderr.write(text),
      signal,
    });
    if (status !== 0) throw new Error(`step ${name} has failed with status ${status}`);
    console.log(`== ${name} took ${(duration / 1000).toFixed(1)} s`);
  }
  await pipeline(await container.getFiles("/work/out", { signal }), createWriteStream(artefacts));
  console.log(`artefacts are in ${artefacts}`);
} catch (error) {
  console.log(signal.aborted ? "cancelled" : String(error));
  process.exitCode = 1;
}
