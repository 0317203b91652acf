import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { goQuote } from "../../contract/go/quote.js";
import { secondsAndNanos } from "../../contract/go/rfc3339.js";
import type { Content, ContentInfo, IngestStatus } from "../../core/content/content.js";
import type { Ingest } from "../../core/content/ingest.js";
import { Failure, isFailure, refusal } from "../../core/failure/failure.js";
import type { Labels } from "../../core/metadata/labels.js";
import {
  type ContentServer,
  ContentService,
  type Info,
  type ReadContentRequest,
  type ReadContentResponse,
  type Status,
  WriteAction,
  type WriteContentRequest,
  type WriteContentResponse,
} from "../../proto/containerd/services/content/v1/content.js";
import type { GrpcService } from "../grpc/server.js";
import { type MaskFields, masked } from "./field-mask.js";
import { entry, type Field, filtered, present } from "./filters/filter.js";
import type { FrontV1, NamespacedCall } from "./front.js";

/** How many are told of in one message. */
const AT_A_TIME = 100;

const MUTABLE: MaskFields<{ labels: Labels }> = new Map([["labels", { field: "labels", isMap: true }]]);

/** Blobs, and those that are being written. */
export function contentService(front: FrontV1, content: Content): GrpcService {
  const implementation: ContentServer = {
    info: front.namespaced(async ({ namespace, request }) => ({
      info: messageOf(await content.info(namespace, request.digest)),
    })),
    update: front.namespaced(async ({ namespace, request: { info, updateMask } }) => {
      const { digest = "", labels = {} } = info ?? {};
      const subject = `content info ${JSON.stringify(digest)}`;
      const change = (before: ContentInfo) =>
        masked<{ labels: Labels }>(before, { labels }, updateMask, MUTABLE, subject).labels;
      return { info: messageOf(await content.update(namespace, digest, change)) };
    }),
    list: front.namespacedStream(async function* ({ namespace, request }) {
      const infos = await filtered(await content.list(namespace), request.filters, fieldOf);
      for (let start = 0; start < infos.length; start += AT_A_TIME)
        yield { info: infos.slice(start, start + AT_A_TIME).map(messageOf) };
    }),
    delete: front.namespaced(async ({ namespace, request }) => {
      await content.delete(namespace, request.digest);
      return {};
    }),
    read: front.namespacedStream((call) => read(content, call)),
    status: front.namespaced(async ({ namespace, request: { ref } }) => {
      try {
        return { status: statusOf(await content.status(namespace, ref)) };
      } catch (error) {
        if (!isFailure(error, "no-ingest")) throw error;
        const why = `could not get status for ref ${goQuote(ref)}: reference ${ref}`;
        throw new Failure("not-found", "refused", { why });
      }
    }),
    listStatuses: front.namespaced(async ({ namespace, request }) => ({
      statuses: (await filtered(await content.statuses(namespace), request.filters, fieldOfStatus)).map(statusOf),
    })),
    write: front.namespacedExchange((call) => write(content, call)),
    abort: front.namespaced(async ({ namespace, request }) => {
      await content.abort(namespace, request.ref);
      return {};
    }),
  };
  const definition = { ...ContentService, read: { ...ContentService.read, responseSerialize: serializeInPlace } };
  return { definition, implementation };
}

/** In bytes: what a message of {@link read} has before its data, at most. */
const HEADER_ROOM = 1 + 10 + 1 + 5;

/**
 * A message of {@link read}, in the memory of its data, which has room for that: the generated code copies the data twice, and what is
 * copied stays until V8 collects it.
 */
function serializeInPlace({ offset, data }: ReadContentResponse): Buffer {
  const header = new BinaryWriter().uint32(8).int64(offset).uint32(18).uint32(data.length).finish();
  const message = Buffer.from(data.buffer, data.byteOffset - header.length, header.length + data.length);
  message.set(header);
  return message;
}

async function* read(
  content: Content,
  { namespace, request }: NamespacedCall<ReadContentRequest>,
): AsyncGenerator<ReadContentResponse> {
  const blob = await content.open(namespace, request.digest);
  try {
    const offset = Math.max(Number(request.offset), 0);
    const left = blob.info.size - offset;
    if (left < 0)
      throw new Failure("out-of-range", "refused", { why: `read past object length ${blob.info.size} bytes` });
    const wanted = Number(request.size);
    const size = wanted <= 0 ? left : Math.min(wanted, left);
    let position = 0n;
    for await (const data of blob.read(offset, size, HEADER_ROOM)) {
      // Counted from where it was asked for.
      yield { offset: position, data };
      position += BigInt(data.length);
    }
  } finally {
    await blob.close();
  }
}

async function* write(
  content: Content,
  { namespace, request: requests, metadata }: NamespacedCall<AsyncIterable<WriteContentRequest>>,
): AsyncGenerator<WriteContentResponse> {
  let ingest: Ingest | undefined;
  let expected = "";
  let total = 0;
  // What is once told is told again with each answer.
  const told: Partial<WriteContentResponse> = {};
  try {
    for await (const request of requests) {
      if (request.total > 0n) total = Number(request.total);
      if (request.expected !== "") expected = request.expected;
      if (ingest === undefined) {
        if (request.ref === "") throw refusal("first message must have a reference");
        ingest = await content.write(namespace, request.ref, { expected, total, lease: metadata.lease });
      } else if (request.expected !== "") {
        await refuseExisting(content, namespace, ingest, expected);
      }
      switch (request.action) {
        case WriteAction.STAT:
          told.startedAt = secondsAndNanos(ingest.startedAt);
          told.updatedAt = secondsAndNanos(ingest.updatedAt);
          told.total = BigInt(total);
          break;
        case WriteAction.WRITE:
        case WriteAction.COMMIT:
          await append(ingest, request);
          break;
        default:
          throw refusal(`no action has the number ${request.action}`);
      }
      const { action } = request;
      const digest = ingest.digest();
      const offset = BigInt(ingest.offset);
      if (action === WriteAction.COMMIT) {
        const info = await ingest.commit({ size: total, expected, labels: request.labels });
        yield { ...EMPTY, ...told, action, offset, digest: info.digest };
        return;
      }
      yield { ...EMPTY, ...told, action, offset, digest };
    }
  } finally {
    await ingest?.close();
  }
}

const EMPTY = { startedAt: undefined, updatedAt: undefined, total: 0n };

/** @throws Failure (out-of-range) when it is not written where the last one has ended, or from the beginning */
async function append(ingest: Ingest, { offset, data }: WriteContentRequest): Promise<void> {
  if (offset > 0n && offset !== BigInt(ingest.offset)) {
    const why = `write @${offset} must occur at current offset ${ingest.offset}`;
    throw new Failure("out-of-range", "refused", { why });
  }
  if (offset <= 0n && ingest.offset > 0) await ingest.truncate();
  await ingest.write(data);
}

/** There is nothing to write any more. @throws Failure (already-exists) */
async function refuseExisting(content: Content, namespace: string, ingest: Ingest, digest: string): Promise<void> {
  try {
    await content.info(namespace, digest);
  } catch (error) {
    if (isFailure(error, "no-content")) return;
    throw error;
  }
  await ingest.close();
  await content.abort(namespace, ingest.ref);
  throw new Failure("already-exists", "refused", { why: `blob with expected digest ${digest} exists` });
}

function fieldOf({ digest, size, labels }: ContentInfo): Field {
  return ([name, ...path]) => {
    if (name === "digest") return digest;
    if (name === "size") return String(size);
    return name === "labels" ? entry(labels, path) : undefined;
  };
}

function fieldOfStatus({ ref }: IngestStatus): Field {
  return ([name]) => (name === "ref" ? present(ref) : undefined);
}

function messageOf({ digest, size, createdAt, updatedAt, labels }: ContentInfo): Info {
  const times = { createdAt: secondsAndNanos(createdAt), updatedAt: secondsAndNanos(updatedAt) };
  return { digest, size: BigInt(size), ...times, labels };
}

function statusOf({ ref, offset, total, expected, startedAt, updatedAt }: IngestStatus): Status {
  const times = { startedAt: secondsAndNanos(startedAt), updatedAt: secondsAndNanos(updatedAt) };
  return { ref, offset: BigInt(offset), total: BigInt(total), expected, ...times };
}
