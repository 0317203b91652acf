/** HTTP as a scraper or curl asks for it, over TCP and unix sockets. */
import { request } from "node:http";
import type { TestDaemon } from "../harness/daemon.js";
import { eventually, PATIENCE } from "../harness/wait.js";

export interface Answer {
  status: number;
  headers: Record<string, unknown>;
  body: string;
}

/** @param where a port of 127.0.0.1, or the path of a unix socket */
export function get(
  where: number | string,
  path: string,
  {
    method = "GET",
    headers = {},
    timeout = PATIENCE,
    signal,
  }: { method?: string; headers?: Record<string, string>; timeout?: number; signal?: AbortSignal } = {},
): Promise<Answer> {
  const target = typeof where === "number" ? { host: "127.0.0.1", port: where } : { socketPath: where };
  return new Promise((resolve, reject) => {
    const call = request({ ...target, path, method, headers, timeout, signal, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString(),
        }),
      );
    });
    call.on("error", reject);
    call.on("timeout", () => call.destroy(new Error(`no answer within ${timeout} ms`)));
    call.end();
  });
}

/** The port that the daemon has got for an address with port 0, from its log. */
export async function portOf(daemon: TestDaemon, flag: string): Promise<number> {
  const line = new RegExp(`http endpoint" flag=${flag} .*port=(\\d+)`);
  return await eventually(() => Number(line.exec(daemon.log)?.[1]) || undefined, { what: `the port of ${flag}` });
}

/** Resolves when the daemon, which has its API's socket before, listens for a flag's endpoint. */
export async function listening(daemon: TestDaemon, flag: string): Promise<void> {
  const line = new RegExp(`http endpoint" flag=${flag} address=`);
  await eventually(() => line.test(daemon.log), { what: `the endpoint of ${flag}` });
}
