// The computer of an agent: it writes files and runs commands in a container that has nothing else, and reads what came of it.
// `node scripts/run-typescript.mjs examples/agent.ts [IMAGE]`.
import { ContainerdError, connect, RunError } from "containerd-ts";

await using client = connect();
// It goes with this program, however that ends, and after an hour at the latest. Docker's defaults are given up one by one.
await using computer = await client.containers.start({
  image: process.argv[2] ?? "python:3.13-alpine",
  args: ["sleep", "infinity"],
  init: true,
  owned: true,
  lifetime: 3_600_000,
  user: 65534,
  tmpfs: { "/work": { size: 64 << 20 } },
  capabilities: { drop: ["ALL"] },
  noNewPrivileges: true,
  limits: { memory: 256 << 20, cpus: 1, pids: 64 },
});

/** What the model is given as tools. Whatever goes wrong is an answer, too: it reads it and tries something else. */
const tools = {
  async write(path: string, text: string): Promise<string> {
    await computer.writeFile(path, text);
    return `wrote ${text.length} characters to ${path}`;
  },

  async run(command: string, timeout = 60_000): Promise<string> {
    try {
      const options = { workdir: "/work", timeout, maxOutput: 64 << 10 };
      const { stdout, stderr, status, oomKilled } = await computer.exec(["sh", "-c", command], options);
      return `${stdout}${stderr}${oomKilled ? "(out of memory) " : ""}status ${status}`;
    } catch (error) {
      if (error instanceof RunError) return `${error.stdout}${error.message}`;
      throw error;
    }
  },

  async read(path: string): Promise<string> {
    try {
      return await computer.readFile(path, { maxSize: 1 << 20 });
    } catch (error) {
      if (error instanceof ContainerdError && error.isNotFound) return `there is no ${path}`;
      throw error;
    }
  },
};

// In place of a model:
console.log(await tools.write("/work/job.sh", "seq 1 10 | awk '{ sum += $1 } END { print sum }' >sum"));
console.log(await tools.run("sh job.sh"));
console.log((await tools.read("/work/sum")).trim());
console.log(await tools.read("/work/no-such-file"));
console.log(await tools.run("echo thinking; sleep 1000", 2000));
