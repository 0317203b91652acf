import { request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import type { HostPort } from "./reached.js";
import type { ProbeResponse, WaitForHttp } from "./wait-options.js";

/** In ms: one that is not answered by then is tried once more. */
const ANSWER_TIMEOUT = 10_000;
/** In bytes. */
const MAX_BODY = 1 << 20;

/** Makes one request. @returns why the answer is not the right one; undefined when it is */
export async function probe(
  { http, status, predicate, method = "GET", headers = {}, tls = false }: WaitForHttp,
  at: HostPort,
  signal: AbortSignal,
): Promise<string | undefined> {
  const what = `${method} ${http}`;
  let response: ProbeResponse;
  try {
    response = await ask({ ...at, path: http, method, headers, tls }, signal);
  } catch (error) {
    return `${what} is not answered: ${(error as Error).message}`;
  }
  if (!isWanted(status, response.status)) return `${what} is answered with status ${response.status}`;
  return predicate !== undefined && !(await predicate(response)) ? `${what} has another answer than wanted` : undefined;
}

function isWanted(wanted: WaitForHttp["status"], status: number): boolean {
  if (wanted === undefined) return status >= 200 && status < 400;
  return typeof wanted === "function" ? wanted(status) : [wanted].flat().includes(status);
}

interface Question extends HostPort {
  path: string;
  method: string;
  headers: Readonly<Record<string, string>>;
  tls: boolean;
}

function ask({ tls, headers, ...to }: Question, signal: AbortSignal): Promise<ProbeResponse> {
  return new Promise((resolve, reject) => {
    const options = { ...to, headers: { ...headers, connection: "close" }, signal, agent: false as const };
    const request = tls ? tlsRequest({ ...options, rejectUnauthorized: false }) : plainRequest(options);
    const timer = setTimeout(() => request.destroy(new Error(`no answer within ${ANSWER_TIMEOUT} ms`)), ANSWER_TIMEOUT);
    request.once("close", () => clearTimeout(timer));
    request.once("error", reject);
    request.once("response", (response) => {
      const pieces: Buffer[] = [];
      let size = 0;
      const done = () => {
        const body = Buffer.concat(pieces).subarray(0, MAX_BODY).toString();
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
        request.destroy();
      };
      response.on("data", (piece: Buffer) => {
        pieces.push(piece);
        size += piece.length;
        if (size >= MAX_BODY) done();
      });
      response.once("end", done);
      response.once("error", reject);
    });
    request.end();
  });
}
