import { blobName } from "./blob-name.js";
import type { Descriptor } from "./manifest.js";

/** What happens while an image comes or goes. */
export interface ProgressEvent {
  /** In words, as containerd's clients show them: `downloading`, `complete`; or a whole line for who reads. */
  event: string;
  /** What it is about: an image, or one of its blobs as {@link blobName} names it. */
  name?: string;
  /** What that belongs to. */
  parents?: readonly string[];
  /** In bytes. */
  progress?: number;
  total?: number;
  descriptor?: Descriptor;
}

/** Who wants to know. */
export interface ProgressListener {
  /** Whether it has taken what it was told before; what only says how far something is waits for that. */
  readonly isReady: boolean;
  tell(event: ProgressEvent): void;
}

/** In ms: how often it is told how far things are. */
const INTERVAL = 100;

/** Tells a listener what happens: at once what happens once, and from time to time how far each blob is. */
export class Progress implements Disposable {
  readonly #listener: ProgressListener | undefined;
  readonly #blobs = new Map<string, BlobProgress>();
  readonly #timer: NodeJS.Timeout | undefined;

  /** @param listener without one nothing is told */
  constructor(listener?: ProgressListener) {
    this.#listener = listener;
    if (listener !== undefined) this.#timer = setInterval(() => listener.isReady && this.#tellChanges(), INTERVAL);
  }

  /** What happens once; after what has happened before. */
  tell(event: ProgressEvent): void {
    this.#tellChanges();
    this.#listener?.tell(event);
  }

  /** A blob that is going to come or go. @param root what it belongs to */
  blob(descriptor: Descriptor, root: string): BlobProgress {
    const name = blobName(descriptor);
    let blob = this.#blobs.get(name);
    if (blob === undefined) {
      blob = new BlobProgress(descriptor, name, root);
      this.#blobs.set(name, blob);
    }
    return blob;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #tellChanges(): void {
    if (this.#listener === undefined) return;
    for (const blob of this.#blobs.values()) {
      const event = blob.change();
      if (event !== undefined) this.#listener.tell(event);
    }
  }
}

/** How far a blob is. */
export class BlobProgress {
  readonly #descriptor: Descriptor;
  readonly #name: string;
  readonly #root: string;
  #event = "waiting";
  #progress = 0;
  #isChanged = true;
  #isWhole = false;

  constructor(descriptor: Descriptor, name: string, root: string) {
    this.#descriptor = descriptor;
    this.#name = name;
    this.#root = root;
  }

  /** @param event `downloading`, `extracting`, `uploading` @param progress in bytes */
  at(event: string, progress: number): void {
    this.#isChanged ||= event !== this.#event || progress !== this.#progress;
    this.#event = event;
    this.#progress = progress;
  }

  /** A layer's blob is read: how far that is says nothing while it still comes. @param read in bytes */
  extracts(read: number): void {
    if (this.#isWhole) this.at("extracting", read);
  }

  /** @param event `complete`, `already exists`, `extracted` */
  done(event: string): void {
    this.#isWhole = true;
    this.at(event, this.#descriptor.size);
  }

  /** What is to be told of it; undefined: nothing new. */
  change(): ProgressEvent | undefined {
    if (!this.#isChanged) return undefined;
    this.#isChanged = false;
    return {
      event: this.#event,
      name: this.#name,
      parents: [this.#root],
      progress: this.#progress,
      total: this.#descriptor.size,
      descriptor: this.#descriptor,
    };
  }
}
