// Runs code that anybody sends, each in a sandbox of its own:
// `node scripts/run-typescript.mjs examples/run-code.ts [IMAGE] [PORT] [INTERPRETER…]`, then
// `curl --data-binary "print(6 * 7)" http://127.0.0.1:8080/`.
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { ContainerdError, connect, RunError } from "containerd-ts";

const [image = "python:3.13-alpine", port = "8080", ...interpreter] = process.argv.slice(2);
const command = interpreter.length > 0 ? interpreter : ["python3", "-"];
/** How many programs run at once; as many sandboxes are kept ready. */
const size = Number(process.env.SANDBOXES ?? 4);
/** In ms. */
const timeout = Number(process.env.TIMEOUT ?? 5000);
/** In bytes. */
const MAX_CODE = 64 << 10;
const MAX_OUTPUT = 64 << 10;

await using client = connect();
await using pool = await client.sandboxes.pool({
  image,
  size,
  max: size,
  // Whatever becomes of this program: no sandbox that it has given out outlives that.
  ttl: timeout + 60_000,
  limits: { memory: 128 << 20, cpus: 0.5, pids: 32 },
  user: "65534:65534",
  capabilities: { drop: ["ALL"] },
});

interface Answer {
  status: number;
  body: object;
}

async function run(code: Buffer, signal: AbortSignal): Promise<Answer> {
  try {
    await using sandbox = await pool.acquire({ wait: false, signal });
    const result = await sandbox.exec(command, { input: code, timeout, maxOutput: MAX_OUTPUT, signal });
    const { stdout, stderr, status, duration } = result;
    return { status: 200, body: { stdout, stderr, status, duration } };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof RunError) {
      const { reason, stdout, stderr } = error;
      return { status: 422, body: { error: reason, stdout: String(stdout), stderr: String(stderr) } };
    }
    if (error instanceof ContainerdError && error.kind === "exhausted")
      return { status: 429, body: { error: "all sandboxes are in use" } };
    console.error(error);
    return { status: 500, body: { error: "the code could not be run" } };
  }
}

/** Undefined: there is too much. */
async function read(request: IncomingMessage): Promise<Buffer | undefined> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of request) {
    length += (piece as Buffer).length;
    if (length > MAX_CODE) return undefined;
    pieces.push(piece as Buffer);
  }
  return Buffer.concat(pieces);
}

const server = createServer(async (request, response) => {
  const gone = new AbortController();
  response.once("close", () => gone.abort(new Error("the caller has gone")));
  const send = ({ status, body }: Answer) => {
    const headers = { "content-type": "application/json", ...(status === 429 && { "retry-after": "1" }) };
    response.writeHead(status, headers).end(`${JSON.stringify(body)}\n`);
  };
  if (request.method !== "POST") return send({ status: 405, body: { error: "POST the code" } });
  try {
    const code = await read(request);
    if (code === undefined) send({ status: 413, body: { error: `at most ${MAX_CODE} bytes of code` } });
    else send(await run(code, gone.signal));
  } catch {
    // Of a caller that has gone.
    response.destroy();
  }
});
server.listen(Number(port), "127.0.0.1");
server.once("listening", () => console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}/`));
await new Promise((resolve) => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, resolve);
});
server.close();
server.closeAllConnections();
