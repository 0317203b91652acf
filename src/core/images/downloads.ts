import { setTimeout } from "node:timers/promises";
import type { Content } from "../content/content.js";
import type { Ingest } from "../content/ingest.js";
import { abortable } from "../failure/abortable.js";
import { Failure } from "../failure/failure.js";
import { GrowingFile } from "../layers/growing-file.js";
import type { BlobSink, Repository } from "../registry/registry.js";
import { blobName } from "./blob-name.js";
import { type Relabel, relabel } from "./documents.js";
import { type Descriptor, isForeignLayer } from "./manifest.js";

/** In ms: how often is looked whether another client has finished to write what is wanted. */
const PATIENCE = 100;

/** A blob on its way to the content. */
export interface Arrival {
  /** Where it can be read from while it comes; undefined once it is content. */
  readonly file: Promise<{ path: string; grown: GrowingFile } | undefined>;
}

/** What a pull wants to be fetched. */
export interface Wanted {
  namespace: string;
  descriptor: Descriptor;
  repository: Repository;
  lease: string;
  relabel: Relabel;
  signal: AbortSignal;
  onArrival?: (arrival: Arrival) => void;
  /** @param size how much of it is there, in bytes */
  onProgress?: (size: number) => void;
  onRetry?: (failure: Failure) => void;
}

/** Brings blobs from registries to the content: each once, however many pulls want it at the same time. */
export class Downloads {
  readonly #content: Content;
  readonly #active = new Map<string, Download>();

  constructor(content: Content) {
    this.#content = content;
  }

  /**
   * Resolves once the blob is content of the namespace, has the labels, and is the lease's.
   * @returns whether it was there already
   * @throws what the registry has failed with; the signal's reason
   */
  async fetch(wanted: Wanted): Promise<boolean> {
    const { digest } = wanted.descriptor;
    for (;;) {
      wanted.signal.throwIfAborted();
      const active = this.#active.get(digest);
      if (active === undefined) {
        const download = new Download(this.#content, wanted);
        this.#active.set(digest, download);
        const done = download.run().finally(() => this.#active.delete(digest));
        // Who waits hears of it.
        done.catch(() => {});
        const outcome = await download.join(wanted, done);
        if (outcome !== "written by another") return outcome === "there already";
        await setTimeout(PATIENCE, undefined, { signal: wanted.signal }).catch(() => {});
      } else {
        // What it has failed with is another pull's business: this one tries by itself then.
        await active.join(wanted).catch(() => {});
      }
    }
  }
}

/** A registry need not have what may not be distributed. Where that is to be had instead is not asked: the image alone says where. */
function foreignFailure({ digest, mediaType }: Descriptor, error: unknown): unknown {
  if (!isForeignLayer(mediaType) || !(error instanceof Failure) || error.kind !== "not-found") return error;
  const what = `layer ${digest} is not to be distributed (${mediaType})`;
  const why =
    "the registry does not have it, and other URLs are not asked; import the image from an archive that has it";
  return new Failure("not-found", "refused", { why: `${what}: ${why}` });
}

type Outcome = "fetched" | "there already" | "written by another";

/** One blob that is being fetched, in the name of the first pull that wanted it. */
class Download {
  readonly #content: Content;
  readonly #wanted: Wanted;
  readonly #ended = new AbortController();
  #waiting = 0;
  #done: Promise<Outcome> | undefined;
  #arrive!: (file: { path: string; grown: GrowingFile } | undefined) => void;
  readonly #arrival: Arrival = {
    file: new Promise((resolve) => {
      this.#arrive = resolve;
    }),
  };

  constructor(content: Content, wanted: Wanted) {
    this.#content = content;
    this.#wanted = wanted;
  }

  /** Waits for it; it ends when nobody waits for it any more. */
  async join({ signal, onArrival, onProgress }: Wanted, done = this.#done!): Promise<Outcome> {
    this.#waiting++;
    this.#done = done;
    onArrival?.(this.#arrival);
    let unfollow = () => {};
    void this.#arrival.file.then((file) => {
      if (file && onProgress) unfollow = file.grown.onChange(() => onProgress(file.grown.size));
    });
    try {
      return await abortable(done, signal);
    } finally {
      unfollow();
      this.#waiting--;
      if (this.#waiting === 0) this.#ended.abort(new Failure("cancelled", "call-cancelled", {}));
    }
  }

  async run(): Promise<Outcome> {
    const { namespace, descriptor, lease, relabel: change } = this.#wanted;
    const { digest, size } = descriptor;
    try {
      let ingest: Ingest;
      try {
        ingest = await this.#content.write(namespace, blobName(descriptor), { expected: digest, total: size, lease });
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        if (error.kind === "unavailable") return "written by another";
        if (error.kind !== "already-exists") throw error;
        await relabel(this.#content, namespace, digest, change);
        return "there already";
      }
      try {
        return await this.#fill(ingest);
      } finally {
        await ingest.close();
      }
    } finally {
      this.#arrive(undefined);
    }
  }

  async #fill(ingest: Ingest): Promise<Outcome> {
    const { descriptor, repository, relabel: change, onRetry } = this.#wanted;
    const { digest, size } = descriptor;
    const isElsewhere = ingest.expected !== "";
    if (!isElsewhere) {
      const grown = new GrowingFile(ingest.offset);
      this.#arrive({ path: ingest.path, grown });
      try {
        const signal = this.#ended.signal;
        await repository.download(descriptor, sinkOf(ingest, grown), { signal, ...(onRetry && { onRetry }) });
        grown.end();
      } catch (error) {
        const failure = foreignFailure(descriptor, error);
        grown.fail(failure);
        throw failure;
      }
    }
    try {
      await ingest.commit({ size, expected: digest, labels: change({}) });
    } catch (error) {
      if (!(error instanceof Failure && error.kind === "already-exists")) throw error;
    }
    return isElsewhere ? "there already" : "fetched";
  }
}

/** Tells who reads the file what was written to it. */
function sinkOf(ingest: Ingest, grown: GrowingFile): BlobSink {
  return {
    get offset() {
      return ingest.offset;
    },
    async write(data) {
      await ingest.write(data);
      grown.grow(ingest.offset);
    },
    async truncate() {
      // Nobody may have read what was wrong: who did begins anew once it is whole.
      if (grown.size > 0) grown.fail(new Failure("unavailable", "refused", { why: "what came had another digest" }));
      await ingest.truncate();
    },
    digest: () => ingest.digest(),
  };
}
