import type { IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { getHeapSnapshot } from "node:v8";
import { answer, type HttpHandler } from "../../listen/http-listener.js";
import { recordCpuProfile } from "./cpu-profile.js";
import { measureEventLoop } from "./event-loop.js";

/** In seconds; the default is Go's for a profile. */
const DEFAULT_DURATION = 30;
const MAX_DURATION = 600;

const INDEX = `CPU profile, for Chrome DevTools or speedscope:  /debug/pprof/profile?seconds=${DEFAULT_DURATION}
heap snapshot, for Chrome DevTools:              /debug/pprof/heap
statistics of the event loop:                    /debug/pprof/event-loop?seconds=${DEFAULT_DURATION}
`;

/**
 * What shows the inside of a running daemon.
 * @param insecure heap snapshots over TCP too
 */
export function debugEndpoint(insecure: boolean): HttpHandler {
  let profiling = false;
  return async (request, response, reach) => {
    const url = new URL(request.url ?? "/", "http://localhost");
    switch (url.pathname) {
      case "/":
      case "/debug/pprof":
      case "/debug/pprof/":
        answer(response, 200, INDEX);
        return;
      case "/debug/pprof/profile":
        if (profiling) {
          answer(response, 409, "a profile is being recorded already\n");
          return;
        }
        profiling = true;
        try {
          await timed(url, request, response, "cpuprofile", recordCpuProfile);
        } finally {
          profiling = false;
        }
        return;
      case "/debug/pprof/event-loop":
        await timed(url, request, response, undefined, measureEventLoop);
        return;
      case "/debug/pprof/heap":
        if (reach === "tcp" && !insecure) {
          answer(
            response,
            403,
            "a heap snapshot holds the environment of containers, which may be secret: " +
              "ask through a unix:// --pprof-address, or say --insecure-debug\n",
          );
          return;
        }
        download(response, "heapsnapshot");
        await pipeline(getHeapSnapshot(), response);
        return;
      default:
        answer(response, 404, INDEX);
    }
  };
}

/** Answers with the JSON of something that is measured for `?seconds=`; a caller who leaves ends it. */
async function timed(
  url: URL,
  request: IncomingMessage,
  response: ServerResponse,
  extension: string | undefined,
  measure: (duration: number, signal: AbortSignal) => Promise<object>,
): Promise<void> {
  const seconds = Number(url.searchParams.get("seconds") ?? DEFAULT_DURATION);
  if (!(seconds > 0 && seconds <= MAX_DURATION)) {
    answer(response, 400, `seconds must be more than 0 and at most ${MAX_DURATION}\n`);
    return;
  }
  if (request.method === "HEAD") {
    answer(response, 200, "");
    return;
  }
  const left = new AbortController();
  response.once("close", () => left.abort());
  let result: object;
  try {
    result = await measure(seconds * 1000, left.signal);
  } catch (error) {
    if (left.signal.aborted) return;
    throw error;
  }
  if (extension !== undefined) download(response, extension);
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(result));
}

/** The browser saves it under a name whose ending tells DevTools what it is. */
function download(response: ServerResponse, extension: string): void {
  response.setHeader("content-type", "application/json");
  response.setHeader("content-disposition", `attachment; filename="containerd-${process.pid}.${extension}"`);
}
