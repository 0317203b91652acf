import { linesIn, type LogLine as RawLine } from "../../contract/log-lines.js";
import type { LogsResponse } from "../../proto/containerdts/engine/v1/engine.js";
import { limitedBy } from "../abortable.js";
import { callChecks } from "../api/call-options.js";
import { timeoutError } from "../api/connection.js";
import type { EngineApi } from "../api/engine.js";
import { isLost, Retries } from "../api/lost-daemon.js";
import { ContainerdError } from "../errors/containerd-error.js";
import { type Checks, checkOptions, flag, oneOf, whole } from "../options/option-checks.js";
import { type Moment, momentCheck, toTimestamp } from "../timestamp.js";

interface CommonLogsOptions {
  /** Whether to go on with what is printed from now on, until the container has stopped. Default: false. */
  follow?: boolean | undefined;
  /** Lines that begin then or later. */
  since?: Moment | undefined;
  /** Lines that begin then or earlier. */
  until?: Moment | undefined;
  /** So many of the last lines only; those after `until` do not count. */
  tail?: number | undefined;
  /** Only lines behind the one that has this position. Not together with `tail`. */
  position?: number | undefined;
  /** Ends it; the iterator throws the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until the iterator throws `DEADLINE_EXCEEDED`. Default, and with Infinity: it may take as long as it takes. */
  timeout?: number | undefined;
}

/** Lines are text, of UTF-8. */
export interface LogsOptions extends CommonLogsOptions {
  encoding?: "utf8" | undefined;
}

/** Lines are bytes. */
export interface LogsBufferOptions extends CommonLogsOptions {
  encoding: "buffer";
}

/** A line that a container has printed. */
export interface LogLine<Line = string> {
  stream: "stdout" | "stderr";
  /** When its beginning was read from the container. */
  time: Date;
  /** Without its newline. */
  line: Line;
  /** Whether it ends with a newline: false of what a process has printed last without one, and of the pieces of lines longer than 4 MiB. */
  isWhole: boolean;
  /** With this as an option `position` the lines behind it come. */
  position: number;
  /** How many bytes of the log before it were rotated away before they could be read; 0 as a rule. */
  missed: number;
  /** How many lines before it the disk had no room for; the line says so then. 0 as a rule. */
  dropped: number;
}

export const logsChecks: Checks<LogsOptions | LogsBufferOptions> = {
  follow: flag,
  since: momentCheck,
  until: momentCheck,
  tail: whole("a number of lines, 0 or more", 0),
  position: whole("the position of a line, 0 or more", 0),
  ...callChecks,
  encoding: oneOf("utf8", "buffer"),
};

/** In bytes: longer lines come in pieces, so that a container that prints no newline takes no more of the program's memory. */
const LONGEST = 4 << 20;

/** `container.logs` */
export async function* logsOf(
  api: EngineApi,
  id: string,
  options: LogsOptions | LogsBufferOptions,
): AsyncGenerator<LogLine<string | Buffer>, void, undefined> {
  const lines = new LineJoiner();
  const decoded = (line: LogLine<Buffer>) =>
    options.encoding === "buffer" ? line : { ...line, line: line.line.toString() };
  const limited = limitedBy(options, () => timeoutError(options.timeout));
  try {
    for await (const chunk of logChunks(api, id, { ...options, signal: limited.signal }))
      for (const line of lines.add(chunk)) yield decoded(line);
    for (const line of lines.end()) yield decoded(line);
  } finally {
    limited.forget();
  }
}

/** Pieces of a log as they come, also from the next daemon when one is killed, without a gap or a line twice. The first has no data. */
export async function* logChunks(
  api: EngineApi,
  id: string,
  { follow = false, since, until, tail, position, signal }: Omit<CommonLogsOptions, "timeout">,
): AsyncGenerator<LogsResponse, void, undefined> {
  const request = {
    ...{ id, follow },
    since: since === undefined ? undefined : toTimestamp(since),
    until: until === undefined ? undefined : toTimestamp(until),
    tail: tail === undefined ? undefined : BigInt(tail),
    position: position === undefined ? undefined : BigInt(position),
  };
  let retries: Retries | undefined;
  let isReached = false;
  for (;;) {
    try {
      for await (const chunk of await api.calls.logs(request, { signal })) {
        retries = undefined;
        request.tail = undefined;
        request.position = chunk.position + BigInt(chunk.data.length);
        if (!isReached || chunk.data.length > 0) yield chunk;
        isReached = true;
      }
      return;
    } catch (error) {
      // One that was removed while the daemon was away.
      if (isReached && error instanceof ContainerdError && error.isNotFound) return;
      if (!isLost(error)) throw error;
      retries ??= new Retries(api.patience);
      await retries.pause(error, signal);
    }
  }
}

interface Begun {
  time: string;
  parts: Buffer[];
  size: number;
}

/** Puts the parts of lines together. */
class LineJoiner {
  readonly #begun = new Map<string, Begun>();
  #missed = 0;
  /** Up to where all is read. */
  #position = 0;

  *add({ data, position, missed }: LogsResponse): Generator<LogLine<Buffer>> {
    if (missed > 0n) yield* this.end();
    this.#missed += Number(missed);
    const bytes = data as Buffer;
    for (const raw of linesIn(bytes)) {
      if (raw.isGap) yield* this.end();
      this.#position = Number(position) + raw.end;
      const text = bytes.subarray(raw.textStart, raw.end - 1);
      const { stream } = raw;
      const begun = this.#begun.get(stream) ?? { time: raw.time, parts: [], size: 0 };
      // The chunk that it is of is not kept for a few bytes.
      begun.parts.push(raw.isPart ? Buffer.from(text) : text);
      begun.size += text.length;
      this.#begun.delete(stream);
      if (raw.isPart && begun.size < LONGEST) this.#begun.set(stream, begun);
      else yield this.#line(raw, begun);
    }
  }

  /** What nothing more comes of. */
  *end(): Generator<LogLine<Buffer>> {
    for (const [stream, begun] of this.#begun)
      yield this.#line({ stream, isGap: false, isWhole: false, tag: "" }, begun);
    this.#begun.clear();
  }

  #line(
    { stream, tag, isWhole, isGap }: Pick<RawLine, "stream" | "tag" | "isWhole" | "isGap">,
    { time, parts }: Begun,
  ): LogLine<Buffer> {
    const missed = this.#missed;
    this.#missed = 0;
    return {
      stream: stream === "stderr" ? "stderr" : "stdout",
      time: new Date(`${time.slice(0, "2016-10-06T00:17:09.669".length)}Z`),
      line: parts.length === 1 ? parts[0]! : Buffer.concat(parts),
      isWhole,
      position: this.#position,
      missed,
      dropped: isGap ? Number(tag.split(":")[2]) : 0,
    };
  }
}

/** @throws TypeError, RangeError */
export function checkLogs(options: LogsOptions | LogsBufferOptions): void {
  checkOptions(options, logsChecks);
  if (options.tail !== undefined && options.position !== undefined)
    throw new TypeError("tail and position can't be given together: with position all lines behind it come");
}
