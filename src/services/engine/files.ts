import { secondsAndNanos } from "../../contract/go/rfc3339.js";
import type { Engine } from "../../core/engine/engine.js";
import { commit } from "../../core/engine/operations/commit.js";
import { changesIn, rootOf } from "../../core/engine/operations/files.js";
import { statusOf } from "../../core/engine/operations/running.js";
import { refusal } from "../../core/failure/failure.js";
import {
  Change_Kind,
  type CommitRequest,
  type DiffRequest,
  type DiffResponse,
  type GetFilesRequest,
  type GetFilesResponse,
  type PutFilesRequest,
  type StatFileRequest,
} from "../../proto/containerdts/engine/v1/engine.js";
import type { Call, StreamingCall } from "../grpc/call.js";
import { clientStream, serverStream } from "../grpc/handlers.js";
import type { EngineCall, EngineFront } from "./front.js";

/** So many changes are in a message. */
const PAGE = 500;
const KINDS = { modified: Change_Kind.MODIFIED, added: Change_Kind.ADDED, deleted: Change_Kind.DELETED };

/** The calls about files in containers. */
export function fileCalls(front: EngineFront, engine: Engine) {
  return {
    putFiles: clientStream(front, async (call: Call<AsyncIterable<PutFilesRequest>>) => {
      const requests = call.request[Symbol.asyncIterator]();
      const { value: first } = await requests.next();
      if (first === undefined) throw refusal("put: the first message has to say where the files go");
      const { namespace } = await front.ready({ ...call, request: { id: first.id, path: first.path } });
      const container = await engine.find(namespace, first.id, call.signal);
      const { keepKinds, keepOwners, path } = first;
      const put = async () =>
        engine.files.put(
          await rootOf(engine, container),
          path,
          dataOf(first, requests),
          { keepKinds, keepOwners },
          call.signal,
        );
      const status = statusOf(engine, container);
      // It is not started while something is put into its layer.
      if (status !== "running" && status !== "paused") await engine.inTurn(container, put);
      else await put();
      return {};
    }),
    getFiles: serverStream(
      front,
      async function* (call: StreamingCall<GetFilesRequest>): AsyncGenerator<GetFilesResponse> {
        const { namespace, request } = await front.ready(call);
        const container = await engine.find(namespace, request.id, call.signal);
        const root = await rootOf(engine, container);
        for await (const data of engine.files.get(root, request.path, request.followLink, call.signal)) yield { data };
      },
    ),
    diff: serverStream(front, async function* (call: StreamingCall<DiffRequest>): AsyncGenerator<DiffResponse> {
      const { namespace, request } = await front.ready(call);
      const container = await engine.find(namespace, request.id, call.signal);
      const changes = await changesIn(engine, container, call.signal);
      for (let at = 0; at < changes.length; at += PAGE)
        yield { changes: changes.slice(at, at + PAGE).map(({ path, kind }) => ({ path, kind: KINDS[kind] })) };
    }),
    commit: front.about(async (container, { request, signal }: EngineCall<CommitRequest>) => ({
      digest: await commit(engine, container, request, signal),
    })),
    statFile: front.about(async (container, { request, signal }: EngineCall<StatFileRequest>) => {
      const info = await engine.files.stat(await rootOf(engine, container), request.path, signal);
      return { ...info, size: BigInt(info.size), modifiedAt: secondsAndNanos(info.modifiedAt) };
    }),
  };
}

async function* dataOf(first: PutFilesRequest, more: AsyncIterator<PutFilesRequest>): AsyncGenerator<Uint8Array> {
  if (first.data.length > 0) yield first.data;
  for (let next = await more.next(); !next.done; next = await more.next()) yield next.value.data;
}
