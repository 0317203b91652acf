/** Images from and to registries and archives, as a client of containerd 1.7 and later asks for them: by Transfer and streams beside it. */
import { randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import { StreamInit } from "../../src/proto/containerd/services/streaming/v1/streaming.js";
import { type ImageReference, ImageStore } from "../../src/proto/containerd/types/transfer/imagestore.js";
import { ImageExportStream, ImageImportStream } from "../../src/proto/containerd/types/transfer/importexport.js";
import { Progress } from "../../src/proto/containerd/types/transfer/progress.js";
import {
  AuthRequest,
  AuthResponse,
  AuthType,
  OCIRegistry,
} from "../../src/proto/containerd/types/transfer/registry.js";
import { Data, WindowUpdate } from "../../src/proto/containerd/types/transfer/streaming.js";
import type { Any } from "../../src/proto/google/protobuf/any.js";
import { DEFAULT_PLATFORM, type Platform } from "./test-images.js";
import type { ApiV1, V1CallOptions } from "./v1.js";

const TYPES = "containerd.types.transfer.";
/** In bytes: of Go's client. */
const MAX_READ = 32 * 1024;

/** Where images go, and what of them. */
export interface StoreOptions extends V1CallOptions {
  /** As it is stored; else by what is transferred. */
  name?: string;
  labels?: Record<string, string>;
  /** Default: this machine's. None: all. */
  platforms?: readonly Platform[];
  /** Default: the platforms. */
  unpacks?: readonly Platform[];
  rules?: readonly Partial<ImageReference>[];
  snapshotter?: string;
  onProgress?: (event: Progress) => void;
}

export interface RegistryOptions {
  username?: string;
  secret?: string;
  authType?: AuthType;
  headers?: Record<string, string>;
  /** What was asked, for credentials. */
  asked?: string[];
}

export interface ImportOptions extends StoreOptions {
  mediaType?: string;
  forceCompress?: boolean;
}

export interface ExportOptions extends V1CallOptions {
  platforms?: readonly Platform[];
  allPlatforms?: boolean;
  skipCompatibilityManifest?: boolean;
  onProgress?: (event: Progress) => void;
}

type Stream = ClientDuplexStream<Any, Any>;

/** Transfers of one namespace; each resolves with the events of its progress. */
export class Transfers {
  constructor(readonly api: ApiV1) {}

  async pull(reference: string, options: StoreOptions & RegistryOptions = {}): Promise<Progress[]> {
    return await this.#transfer(await this.#registry(reference, options), storeAny(options), options);
  }

  async push(name: string, reference: string, options: StoreOptions & RegistryOptions = {}): Promise<Progress[]> {
    const store = storeAny({ platforms: [], unpacks: [], ...options, name });
    return await this.#transfer(store, await this.#registry(reference, options), options);
  }

  async tag(name: string, other: string, options: StoreOptions = {}): Promise<Progress[]> {
    return await this.#transfer(storeAny({ name }), storeAny({ ...options, name: other }), options);
  }

  /** @param archive a path, or bytes */
  async import(archive: string | AsyncIterable<Buffer>, options: ImportOptions = {}): Promise<Progress[]> {
    const { id, stream } = await this.openStream();
    const data = typeof archive === "string" ? createReadStream(archive, { highWaterMark: MAX_READ }) : archive;
    const sent = sendData(stream, data);
    // Data that has no end may be waited for when the transfer is over.
    sent.catch(() => {});
    const { mediaType = "", forceCompress = false } = options;
    const source = anyOf("ImageImportStream", ImageImportStream.encode({ stream: id, mediaType, forceCompress }));
    try {
      const progress = await this.#transfer(source, storeAny(options), options);
      await sent;
      return progress;
    } finally {
      stream.cancel();
    }
  }

  /** Writes an archive of these images to a file. */
  async export(names: readonly string[], path: string, options: ExportOptions = {}): Promise<Progress[]> {
    const { id, stream } = await this.openStream();
    const [name = "", ...more] = names;
    const source = storeAny({ name, platforms: [], unpacks: [], rules: more.map((other) => ({ name: other })) });
    const { platforms = [], allPlatforms = false, skipCompatibilityManifest = false } = options;
    const destination = anyOf(
      "ImageExportStream",
      ImageExportStream.encode({
        ...{ stream: id, mediaType: "", allPlatforms, skipCompatibilityManifest, skipNonDistributable: false },
        platforms: platforms.map(platformMessage),
      }),
    );
    const received = receiveData(stream, path);
    try {
      const progress = await this.#transfer(source, destination, options);
      await received;
      return progress;
    } finally {
      stream.cancel();
      await received.catch(() => {});
    }
  }

  /** A stream that can be named by its id. */
  async openStream(id: string = randomUUID()): Promise<{ id: string; stream: Stream }> {
    const stream = this.api.stream();
    const ready = new Promise<void>((resolve, reject) => {
      stream.once("data", () => {
        // What comes next is for who wants it.
        stream.pause();
        resolve();
      });
      stream.on("error", reject);
    });
    stream.write({
      typeUrl: "containerd.services.streaming.v1.StreamInit",
      value: Buffer.from(StreamInit.encode({ id }).finish()),
    });
    await ready;
    return { id, stream };
  }

  async #transfer(source: Any, destination: Any, options: StoreOptions | ExportOptions): Promise<Progress[]> {
    const { onProgress, ...call } = options;
    const { id, stream } = await this.openStream();
    const events: Progress[] = [];
    stream.on("data", ({ value }: Any) => {
      const event = Progress.decode(value);
      events.push(event);
      onProgress?.(event);
    });
    const ended = new Promise((resolve) => {
      stream.once("end", resolve);
      stream.once("error", resolve);
    });
    stream.resume();
    try {
      await this.api.transfer.transfer({ source, destination, options: { progressStream: id } }, call);
      await ended;
      return events;
    } finally {
      stream.cancel();
    }
  }

  async #registry(reference: string, options: RegistryOptions): Promise<Any> {
    const { username = "", secret, authType = AuthType.CREDENTIALS, headers = {}, asked } = options;
    let authStream = "";
    if (secret !== undefined) {
      const { id, stream } = await this.openStream();
      authStream = id;
      stream.on("data", ({ value }: Any) => {
        const { host, reference } = AuthRequest.decode(value);
        asked?.push(`${host} ${reference}`);
        stream.write(anyOf("AuthResponse", AuthResponse.encode({ authType, username, secret, expireAt: undefined })));
      });
      stream.resume();
    }
    const resolver = { authStream, headers, hostDir: "", defaultScheme: "", httpDebug: 0, logsStream: "" };
    return anyOf("OCIRegistry", OCIRegistry.encode({ reference, resolver }));
  }
}

/** Sends as much as it is asked for, and then the end. */
async function sendData(stream: Stream, data: AsyncIterable<Buffer>): Promise<void> {
  let window = 0;
  let wake = () => {};
  let isOver = false;
  stream.on("data", ({ value }: Any) => {
    window += WindowUpdate.decode(value).update;
    wake();
  });
  const end = () => {
    isOver = true;
    wake();
  };
  stream.on("end", end);
  stream.on("error", end);
  stream.resume();
  for await (const chunk of data) {
    for (let at = 0; at < chunk.length; ) {
      while (window <= 0 && !isOver)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      if (isOver) return;
      const size = Math.min(window, MAX_READ, chunk.length - at);
      window -= size;
      stream.write(anyOf("Data", Data.encode({ data: chunk.subarray(at, at + size) })));
      at += size;
    }
  }
  stream.end();
}

async function receiveData(stream: Stream, path: string): Promise<void> {
  const file = createWriteStream(path);
  let window = 0;
  const ask = () => {
    if (window >= MAX_READ) return;
    window += 2 * MAX_READ;
    stream.write(anyOf("WindowUpdate", WindowUpdate.encode({ update: 2 * MAX_READ })));
  };
  ask();
  for await (const { value } of stream as AsyncIterable<Any>) {
    const { data } = Data.decode(value);
    window -= data.length;
    if (window < 0) throw new Error("more than was asked for");
    file.write(data);
    ask();
  }
  file.end();
  await finished(file);
}

function storeAny(options: StoreOptions): Any {
  const {
    name = "",
    labels = {},
    platforms = [DEFAULT_PLATFORM],
    unpacks = platforms,
    rules = [],
    snapshotter = "",
  } = options;
  const noRule = { name: "", isPrefix: false, allowOverwrite: false, addDigest: false, skipNamedDigest: false };
  return anyOf(
    "ImageStore",
    ImageStore.encode({
      ...{ name, labels, allMetadata: false, manifestLimit: 0 },
      platforms: platforms.map(platformMessage),
      extraReferences: rules.map((rule) => ({ ...noRule, ...rule })),
      unpacks: unpacks.map((platform) => ({ platform: platformMessage(platform), snapshotter })),
    }),
  );
}

function platformMessage({ os, architecture, variant = "" }: Platform) {
  return { os, architecture, variant, osVersion: "", osFeatures: [] };
}

function anyOf(type: string, writer: { finish(): Uint8Array }): Any {
  return { typeUrl: `${TYPES}${type}`, value: Buffer.from(writer.finish()) };
}
