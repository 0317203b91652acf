import { createHash } from "node:crypto";
import { printable } from "../../contract/terminal/printable.js";
import { Failure } from "../failure/failure.js";
import type { Capability } from "./capabilities.js";
import type { Answer } from "./connections.js";
import type { Descriptor } from "./descriptor.js";
import { connectionFault, Fault, shownUrl } from "./fault.js";
import type { HostSession } from "./host-session.js";
import { FORMER_TYPES, isManifest, MANIFEST_TYPES } from "./media-types.js";
import type { Reference } from "./reference.js";
import { Retries } from "./retries.js";
import { type BlobSource, uploadBlob } from "./upload.js";

export interface Transfer {
  signal: AbortSignal;
  /** Told before a request is made again. `delay` in ms. */
  onRetry?: (failure: Failure, delay: number) => void;
}

/** Where a blob goes to. An ingest of the content is one. */
export interface BlobSink {
  /** In bytes: how much it has; there a download goes on. */
  readonly offset: number;
  write(data: Buffer): Promise<void>;
  /** Throws all away that it has. */
  truncate(): Promise<void>;
  /** Of what it has so far. */
  digest(): string;
}

/** In bytes: of a manifest or an index, as most registries have it. */
export const MAX_MANIFEST = 4 << 20;
/** In bytes: what has to come while a connection may stand still; less is as good as nothing. */
const LEAST = 1024;
/** In bytes: after so much that came well, earlier faults don't count. */
const PROGRESS = 1 << 20;

const DIGEST = /^sha256:[a-f0-9]{64}$/;
const FORM = "it is sha256: and 64 hexadecimal digits";
const TAG = /^\w[\w.-]{0,127}$/;
const ACCEPT = { accept: [...MANIFEST_TYPES, ...FORMER_TYPES].join(", ") };

/**
 * One repository at its registry and the mirrors of that. Every request is tried again by itself after what may pass, and then at the next
 * host. What fails in the end: Failure not-found, unauthenticated, permission-denied, resource-exhausted (too many requests), unavailable,
 * failed-precondition, invalid-argument; or the signal's reason.
 */
export class Repository {
  readonly reference: Reference;
  readonly #sessions: readonly HostSession[];
  /** In ms. */
  readonly #retryDelay: number;

  constructor(reference: Reference, sessions: readonly HostSession[], retryDelay: number) {
    this.reference = reference;
    this.#sessions = sessions;
    this.#retryDelay = retryDelay;
  }

  /** What the reference's digest or tag names: a manifest or an index. */
  async resolve(transfer: Transfer): Promise<Descriptor> {
    const { digest, tag } = this.reference;
    const name = digest ?? tag!;
    return await this.#atHosts("resolve", transfer, async (session, retries) => {
      for (;;) {
        const found = await this.#head(session, name, transfer.signal);
        if (found !== undefined && (digest === undefined || found.digest === digest)) return found;
        // Not every registry says all of it without the body, or says it right.
        const { bytes, answer } = await this.#getManifest(session, name, MAX_MANIFEST, transfer.signal);
        const fault = wrongDigest(answer.url, digest, digestOf(bytes));
        if (fault === undefined) {
          const mediaType = mediaTypeOf(answer, bytes);
          if (mediaType !== undefined) return { mediaType, digest: digestOf(bytes), size: bytes.length };
          const type = printable(answer.headers.get("content-type")?.slice(0, 100) ?? "nothing that has a type");
          throw failed(answer.url, `what came is no manifest and no index, but ${type}`);
        }
        retries.wrong(fault);
      }
    });
  }

  /** The bytes of a manifest or an index: as long as said (4 MiB at most), and of the digest. */
  async manifest(descriptor: Descriptor, transfer: Transfer): Promise<Buffer> {
    const { digest, size } = descriptor;
    return await this.#atHosts("pull", transfer, async (session, retries) => {
      const url = session.url(this.#path("manifests", digest));
      if (size > MAX_MANIFEST)
        throw failed(url, `a manifest of ${size} bytes is refused: ${MAX_MANIFEST} is the limit`);
      for (;;) {
        const { bytes, answer } = await this.#getManifest(session, digest, MAX_MANIFEST, transfer.signal);
        const fault =
          bytes.length === size
            ? wrongDigest(answer.url, digest, digestOf(bytes))
            : wrongSize(answer.url, size, `${bytes.length}`);
        if (fault === undefined) return bytes;
        retries.wrong(fault);
      }
    });
  }

  /**
   * Brings a blob to its sink, from the sink's offset on, and goes on there after broken connections. It is whole then: size and digest
   * are those of the descriptor. One of another digest is thrown away and fetched once more; then Failure wrong-digest, which names both,
   * and the sink is empty. After any other failure the sink keeps what it has, for the next try.
   */
  async download(descriptor: Descriptor, sink: BlobSink, transfer: Transfer): Promise<void> {
    const { digest, size } = descriptor;
    // What an earlier try has left may be no beginning of it.
    if (sink.offset > size || (sink.offset === size && size > 0 && sink.digest() !== digest)) await sink.truncate();
    await this.#atHosts("pull", transfer, async (session, retries) => {
      const url = session.url(this.#path("blobs", digest));
      for (;;) {
        if (sink.offset < size || size === 0)
          await this.#fetchInto(session, descriptor, sink, retries, transfer.signal);
        const found = sink.digest();
        if (sink.offset === size && found === digest) return;
        const fault = sink.offset === size ? wrongDigest(url, digest, found)! : wrongSize(url, size, `${sink.offset}`);
        await sink.truncate();
        retries.wrong(fault);
      }
    });
  }

  /** Whether the registry has the blob, or the manifest. */
  async exists(descriptor: Descriptor, transfer: Transfer): Promise<boolean> {
    const kind = isManifest(descriptor.mediaType) ? "manifests" : "blobs";
    return await this.#atHosts("push", transfer, (session) =>
      this.#has(session, kind, descriptor.digest, transfer.signal),
    );
  }

  /**
   * Brings a blob to the registry, unless it has it.
   * @param options.from paths of other repositories of this registry that may have it
   */
  async upload(
    descriptor: Descriptor,
    source: BlobSource,
    { from = [], ...transfer }: Transfer & { from?: readonly string[] },
  ): Promise<void> {
    const { path } = this.reference;
    await this.#atHosts("push", transfer, async (session, retries) => {
      if (await this.#has(session, "blobs", descriptor.digest, transfer.signal)) return;
      const target = { session, path, scopes: [this.#scope("pull,push")] };
      await uploadBlob(target, descriptor, source, { from, signal: transfer.signal, retries });
    });
  }

  /** Puts a manifest or an index there, whose blobs and manifests are there already; also under the tag, if one is given. */
  async putManifest(
    { digest, mediaType }: Descriptor,
    bytes: Buffer,
    { tag, signal, ...transfer }: Transfer & { tag?: string },
  ): Promise<void> {
    await this.#atHosts("push", { signal, ...transfer }, async (session) => {
      const answer = await session.request({
        method: "PUT",
        path: this.#path("manifests", tag ?? digest),
        headers: { "content-type": mediaType },
        body: bytes,
        scopes: [this.#scope("pull,push")],
        expected: [200, 201, 202],
        signal,
      });
      answer.body.destroy();
      const named = answer.headers.get("docker-content-digest");
      if (named !== undefined && named !== digest)
        throw wrongDigest(answer.url, digest, printable(named.slice(0, 100)))!;
    });
  }

  /** @param name a digest, or of manifests a tag */
  #path(kind: "manifests" | "blobs", name: string): string {
    // It is a part of a URL, and came from a registry.
    if (!DIGEST.test(name) && name !== this.reference.tag && (kind === "blobs" || !TAG.test(name))) {
      throw new Failure("invalid-argument", "invalid-value", { name: "digest", value: name.slice(0, 100), why: FORM });
    }
    return `${this.reference.path}/${kind}/${name}`;
  }

  #scope(actions: "pull" | "pull,push"): string {
    return `repository:${this.reference.path}:${actions}`;
  }

  /** A mirror of several registries has to know of which one this is. */
  #query({ host: { isServer } }: HostSession): Record<string, string> {
    return isServer ? {} : { ns: this.reference.host };
  }

  /** @returns undefined when the registry does not say all of it */
  async #head(session: HostSession, name: string, signal: AbortSignal): Promise<Descriptor | undefined> {
    const answer = await session.request({
      method: "HEAD",
      path: this.#path("manifests", name),
      query: this.#query(session),
      headers: ACCEPT,
      scopes: [this.#scope("pull")],
      // 405 and the like come from registries that have no HEAD.
      expected: [200, 400, 405, 501],
      signal,
    });
    answer.body.destroy();
    const digest = answer.headers.get("docker-content-digest") ?? "";
    const size = Number(answer.headers.get("content-length") ?? Number.NaN);
    const mediaType = contentType(answer);
    const isWhole = answer.status === 200 && DIGEST.test(digest) && size > 0 && isManifest(mediaType);
    return isWhole ? { mediaType, digest, size } : undefined;
  }

  async #getManifest(session: HostSession, name: string, limit: number, signal: AbortSignal) {
    const answer = await session.request({
      method: "GET",
      path: this.#path("manifests", name),
      query: this.#query(session),
      headers: ACCEPT,
      scopes: [this.#scope("pull")],
      expected: [200],
      signal,
    });
    return { answer, bytes: await session.read(answer, limit, signal) };
  }

  async #has(session: HostSession, kind: "manifests" | "blobs", digest: string, signal: AbortSignal): Promise<boolean> {
    const answer = await session.request({
      method: "HEAD",
      path: this.#path(kind, digest),
      headers: kind === "manifests" ? ACCEPT : {},
      scopes: [this.#scope("pull,push")],
      expected: [200, 404],
      signal,
    });
    answer.body.destroy();
    return answer.status === 200;
  }

  /** Fetches until the sink has as much as the descriptor says, or more came than that. */
  async #fetchInto(
    session: HostSession,
    { digest, size }: Descriptor,
    sink: BlobSink,
    retries: Retries,
    signal: AbortSignal,
  ): Promise<void> {
    for (;;) {
      const start = sink.offset;
      try {
        const answer = await session.request({
          method: "GET",
          path: this.#path("blobs", digest),
          query: this.#query(session),
          headers: { "accept-encoding": "identity", ...(start === 0 ? {} : { range: `bytes=${start}-` }) },
          scopes: [this.#scope("pull")],
          expected: [200, 206, 416],
          signal,
        });
        await this.#readInto(session, answer, size, sink, signal);
        return;
      } catch (error) {
        if (sink.offset - start >= PROGRESS) retries.progressed();
        if (error instanceof Fault && error.isWrong) {
          await sink.truncate();
          retries.wrong(error);
        } else {
          await retries.wait(error);
        }
      }
    }
  }

  async #readInto(
    session: HostSession,
    answer: Answer,
    size: number,
    sink: BlobSink,
    signal: AbortSignal,
  ): Promise<void> {
    const { url, body } = answer;
    try {
      let skipped = beginningOf(answer, sink.offset, size);
      const parts = (body as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
      // How long it was waited for how much: the time that the sink takes is not the registry's.
      let waited = 0;
      let came = 0;
      for (;;) {
        const since = performance.now();
        const next = await parts.next().catch((error) => {
          signal.throwIfAborted();
          throw connectionFault(url, error, session.stallTimeout);
        });
        if (next.done) break;
        waited += performance.now() - since;
        came += next.value.length;
        if (came >= LEAST) waited = came = 0;
        else if (waited > session.stallTimeout) {
          const why = `only ${came} bytes came in ${Math.round(waited)} ms`;
          throw new Fault(new Failure("unavailable", "registry-failed", { url: shownUrl(url), why }), { passes: true });
        }
        // What the sink has already.
        const part = next.value.subarray(Math.min(skipped, next.value.length));
        skipped -= next.value.length - part.length;
        if (part.length === 0) continue;
        if (sink.offset + part.length > size) throw wrongSize(url, size, `more than ${size}`);
        await sink.write(part);
        signal.throwIfAborted();
      }
      if (sink.offset < size) {
        const why = `the answer ended after ${sink.offset} of ${size} bytes`;
        throw new Fault(new Failure("unavailable", "registry-failed", { url: shownUrl(url), why }), { passes: true });
      }
    } finally {
      body.destroy();
    }
  }

  /** Asks one host after the other, each as often as is worth it. */
  async #atHosts<T>(
    capability: Capability,
    { signal, onRetry }: Transfer,
    work: (session: HostSession, retries: Retries) => Promise<T>,
  ): Promise<T> {
    const able = this.#sessions.filter(({ host }) => host.capabilities.has(capability));
    const sessions = able.filter(({ isDown }, index) => !isDown || index === able.length - 1);
    const failures: { host: string; failure: Failure }[] = [];
    for (const [index, session] of sessions.entries()) {
      const isLast = index === sessions.length - 1;
      const isReached = () => session.isReached;
      const retries = new Retries({ signal, onRetry, delay: this.#retryDelay, isLast, isReached });
      try {
        for (;;) {
          try {
            return await work(session, retries);
          } catch (error) {
            await retries.wait(error);
          }
        }
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof Fault)) throw error;
        failures.push({ host: session.name, failure: error.failure });
        if (isLast) continue;
        session.isDown ||= error.passes;
        onRetry?.(error.failure, 0);
      }
    }
    throw together(failures, `no host may be asked for ${this.reference.host}'s images to ${capability} them`);
  }
}

/** @param nobody where no host was asked */
function together(failures: readonly { host: string; failure: Failure }[], nobody: string): Failure {
  const last = failures.at(-1)?.failure;
  if (last === undefined) return new Failure("failed-precondition", "refused", { why: nobody });
  if (failures.length === 1) return last;
  const hosts = failures.map(({ host, failure }) => ({ host, why: failure.message }));
  // The registry itself is asked last: what it says weighs more than what its mirrors do.
  return new Failure(last.kind, "hosts-failed", { hosts });
}

/**
 * How much of an answer's beginning the sink has already.
 * @throws Fault where it is not what was asked for
 */
function beginningOf({ url, status, headers }: Answer, offset: number, size: number): number {
  const length = Number(headers.get("content-length") ?? Number.NaN);
  if (status === 416) throw wrongSize(url, size, `not more than ${offset}`);
  if (status === 200) {
    if (!Number.isNaN(length) && length !== size) throw wrongSize(url, size, `${length}`);
    return offset;
  }
  const range = headers.get("content-range") ?? "";
  const [, first, total] = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(range) ?? [];
  if (first === undefined || Number(first) > offset) {
    const asked = `bytes from ${offset} on were asked for`;
    const came = `${asked}, and came with Content-Range ${JSON.stringify(range.slice(0, 100))}`;
    throw failed(url, came, { isWrong: true });
  }
  if (total !== "*" && Number(total) !== size) throw wrongSize(url, size, `${total}`);
  return offset - Number(first);
}

function contentType({ headers }: Answer): string {
  return (headers.get("content-type") ?? "").replace(/;.*$/s, "").trim().toLowerCase();
}

/** As the answer says; of one that only says that it is JSON, as it says itself. */
function mediaTypeOf(answer: Answer, bytes: Buffer): string | undefined {
  const type = contentType(answer);
  if (isManifest(type)) return type;
  if (!["application/json", "text/plain", "application/octet-stream", ""].includes(type)) return undefined;
  try {
    const { mediaType } = (JSON.parse(bytes.toString("utf8")) ?? {}) as { mediaType?: unknown };
    return typeof mediaType === "string" && isManifest(mediaType) ? mediaType : undefined;
  } catch {
    return undefined;
  }
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function wrongDigest(url: URL, expected: string | undefined, found: string): Fault | undefined {
  if (expected === undefined || expected === found) return undefined;
  const failure = new Failure("failed-precondition", "wrong-digest", { url: shownUrl(url), expected, found });
  return new Fault(failure, { isWrong: true });
}

function wrongSize(url: URL, expected: number, found: string): Fault {
  return new Fault(new Failure("failed-precondition", "wrong-size", { url: shownUrl(url), expected, found }), {
    isWrong: true,
  });
}

function failed(url: URL, why: string, options: { isWrong?: boolean } = {}): Fault {
  return new Fault(new Failure("failed-precondition", "registry-failed", { url: shownUrl(url), why }), options);
}
