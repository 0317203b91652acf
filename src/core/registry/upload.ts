import { Failure } from "../failure/failure.js";
import type { Answer } from "./connections.js";
import type { Descriptor } from "./descriptor.js";
import { Fault, shownUrl } from "./fault.js";
import type { HostSession } from "./host-session.js";
import type { Retries } from "./retries.js";

/** Where a blob comes from. */
export type BlobSource = (offset: number) => AsyncIterable<Buffer>;

/** Where it is to go. */
export interface UploadTarget {
  readonly session: HostSession;
  /** Of the repository. */
  readonly path: string;
  readonly scopes: readonly string[];
}

interface UploadOptions {
  /** Other repositories there that may have it. */
  readonly from: readonly string[];
  readonly signal: AbortSignal;
  readonly retries: Retries;
}

/** How many times longer than for the next byte is waited for a registry that has all of them, and looks at them. */
const PATIENCE = 10;
/** How many other repositories are tried. */
const MAX_MOUNTS = 3;

/**
 * Brings a blob to a registry. After a broken connection it goes on where the registry says that it is, or begins anew.
 * @throws Fault, what the source throws, or the signal's reason
 */
export async function uploadBlob(
  target: UploadTarget,
  descriptor: Descriptor,
  source: BlobSource,
  { from, signal, retries }: UploadOptions,
): Promise<void> {
  const upload = new Upload(target, descriptor, signal);
  /** Where the registry takes it. */
  let place: URL | undefined;
  let offset = 0;
  for (;;) {
    try {
      if (place === undefined) {
        place = await upload.begin(from);
        if (place === undefined) return;
        offset = 0;
      }
      await upload.finish(place, offset, source);
      return;
    } catch (error) {
      await retries.wait(error);
      const state = place === undefined ? undefined : await upload.state(place);
      place = state?.place;
      if (state !== undefined) {
        if (state.offset > offset) retries.progressed();
        offset = state.offset;
      }
    }
  }
}

class Upload {
  readonly #target: UploadTarget;
  readonly #descriptor: Descriptor;
  readonly #signal: AbortSignal;

  constructor(target: UploadTarget, descriptor: Descriptor, signal: AbortSignal) {
    this.#target = target;
    this.#descriptor = descriptor;
    this.#signal = signal;
  }

  /** @returns undefined when the registry has taken the blob from another repository */
  async begin(from: readonly string[]): Promise<URL | undefined> {
    const { session, path, scopes } = this.#target;
    const post = async (query: Record<string, string>, more: readonly string[]) =>
      await session.request({
        method: "POST",
        path: `${path}/blobs/uploads/`,
        query,
        headers: { "content-length": "0" },
        scopes: [...scopes, ...more],
        expected: [201, 202],
        signal: this.#signal,
      });
    for (const other of from.slice(0, MAX_MOUNTS)) {
      try {
        const answer = await post({ mount: this.#descriptor.digest, from: other }, [`repository:${other}:pull`]);
        answer.body.destroy();
        if (answer.status === 201) return undefined;
      } catch (error) {
        // We may not read the other one: then it is brought there.
        if (!(error instanceof Fault) || error.passes) throw error;
      }
    }
    const answer = await post({}, []);
    answer.body.destroy();
    return session.placeOf(answer);
  }

  /** Sends what is missing, and has the registry look whether it is all. */
  async finish(place: URL, offset: number, source: BlobSource): Promise<void> {
    const { size } = this.#descriptor;
    // Most of them take it in one go, and some in no other way.
    if (offset === 0) return void (await this.#send("PUT", place, 0, source));
    const answer = offset < size ? await this.#send("PATCH", place, offset, source) : undefined;
    await this.#send("PUT", answer === undefined ? place : this.#target.session.placeOf(answer), size, source);
  }

  /** How far the registry has come; undefined when it does not know any more. */
  async state(place: URL): Promise<{ place: URL; offset: number } | undefined> {
    const { session, scopes } = this.#target;
    try {
      const answer = await session.request({
        method: "GET",
        path: place,
        scopes,
        expected: [200, 202, 204],
        signal: this.#signal,
      });
      answer.body.destroy();
      const [, last] = /^(?:bytes[ =])?0-(\d{1,15})$/.exec(answer.headers.get("range") ?? "") ?? [];
      if (last === undefined) return undefined;
      // Of nothing, docker-registry says `0-0`: one byte more or less is no reason to guess.
      const offset = Number(last) === 0 ? 0 : Number(last) + 1;
      return offset === 0 || offset > this.#descriptor.size ? undefined : { place: session.placeOf(answer), offset };
    } catch (error) {
      this.#signal.throwIfAborted();
      if (error instanceof Fault) return undefined;
      throw error;
    }
  }

  /** The blob from `offset` on; nothing when that is its end. */
  async #send(method: "PUT" | "PATCH", place: URL, offset: number, source: BlobSource): Promise<Answer> {
    const { session, scopes } = this.#target;
    const { digest, size } = this.#descriptor;
    const stall = new AbortController();
    const { stallTimeout } = session;
    const late = (timeout: number) => {
      const why = `it took nothing and said nothing for ${timeout} ms`;
      stall.abort(
        new Fault(new Failure("unavailable", "registry-failed", { url: shownUrl(place), why }), { passes: true }),
      );
    };
    let timer = setTimeout(late, stallTimeout, stallTimeout);
    let sourceFault: { error: unknown } | undefined;
    async function* body() {
      const parts = source(offset)[Symbol.asyncIterator]();
      try {
        for (;;) {
          // Not all of this in a `catch`: what happens to the connection is thrown into the loop as well.
          const next = await parts.next().catch((error) => {
            sourceFault = { error };
            throw error;
          });
          if (next.done) break;
          timer.refresh();
          yield next.value;
        }
      } finally {
        await parts.return?.();
      }
      clearTimeout(timer);
      timer = setTimeout(late, PATIENCE * stallTimeout, PATIENCE * stallTimeout);
    }
    const isRest = method === "PATCH";
    const length = size - offset;
    try {
      const answer = await session.request({
        method,
        path: place,
        query: method === "PUT" ? { digest } : {},
        headers: {
          "content-type": "application/octet-stream",
          "content-length": `${length}`,
          ...(isRest ? { "content-range": `${offset}-${size - 1}` } : {}),
        },
        ...(length === 0 ? {} : { body: body() }),
        scopes,
        expected: isRest ? [202, 204] : [201, 204],
        signal: AbortSignal.any([this.#signal, stall.signal]),
        headersTimeout: 0,
      });
      answer.body.destroy();
      return answer;
    } catch (error) {
      this.#signal.throwIfAborted();
      throw sourceFault === undefined ? error : sourceFault.error;
    } finally {
      clearTimeout(timer);
    }
  }
}
