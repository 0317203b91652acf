/** Clients that go away without a word. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import type { TestDaemon } from "./daemon.js";

/** A socket whose connections lead to the daemon's, and can be made to end. */
export async function endingConnections(daemon: TestDaemon): Promise<AsyncDisposable & { path: string; end(): void }> {
  const path = `${daemon.dir}/ending.sock`;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const onward = connect(daemon.listen.slice("unix://".length));
    for (const [from, to] of [
      [client, onward],
      [onward, client],
    ] as const) {
      sockets.add(from);
      from.on("error", () => {}).on("close", () => to.destroy());
      from.pipe(to);
    }
  }).listen(path);
  await once(server, "listening");
  const end = () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  return {
    path,
    end,
    async [Symbol.asyncDispose]() {
      end();
      server.close();
    },
  };
}
