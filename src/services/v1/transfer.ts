import { Failure, refusal } from "../../core/failure/failure.js";
import type { Destination } from "../../core/images/image-store.js";
import type { Platform } from "../../core/images/platform.js";
import { HERE } from "../../core/images/platform.js";
import type { ImageTransfers } from "../../core/images/transfers.js";
import { parseReference } from "../../core/registry/reference.js";
import type { Access } from "../../core/registry/registry.js";
import { SNAPSHOTTER } from "../../core/snapshots/snapshots.js";
import { type TransferServer, TransferService } from "../../proto/containerd/services/transfer/v1/transfer.js";
import type { Platform as PlatformMessage } from "../../proto/containerd/types/platform.js";
import { ImageStore } from "../../proto/containerd/types/transfer/imagestore.js";
import { ImageExportStream, ImageImportStream } from "../../proto/containerd/types/transfer/importexport.js";
import { OCIRegistry } from "../../proto/containerd/types/transfer/registry.js";
import type { Any } from "../../proto/google/protobuf/any.js";
import type { GrpcService } from "../grpc/server.js";
import type { FrontV1 } from "./front.js";
import { isOf, type Streams } from "./streaming.js";
import { askCredentials } from "./transfer/credentials.js";
import { receiveData, sendData } from "./transfer/data-stream.js";
import { ProgressStream } from "./transfer/progress-stream.js";

/** What a transfer may come from or go to. */
type End =
  | { kind: "registry"; message: OCIRegistry }
  | { kind: "store"; message: ImageStore }
  | { kind: "import"; message: ImageImportStream }
  | { kind: "export"; message: ImageExportStream };

const PACKAGE = "containerd.types.transfer.";
const ENDS: Readonly<Record<string, (value: Buffer) => End>> = {
  OCIRegistry: (value) => ({ kind: "registry", message: OCIRegistry.decode(value) }),
  ImageStore: (value) => ({ kind: "store", message: ImageStore.decode(value) }),
  ImageImportStream: (value) => ({ kind: "import", message: ImageImportStream.decode(value) }),
  ImageExportStream: (value) => ({ kind: "export", message: ImageExportStream.decode(value) }),
};

/** In characters: how much of a type that is not known an error quotes. */
const MAX_SHOWN = 100;

/** A transfer that is under way. */
interface Transfer {
  namespace: string;
  lease: string | undefined;
  signal: AbortSignal;
  listener: ProgressStream | undefined;
}

/** Images from somewhere to somewhere: registries, archives, the store. */
export function transferService(front: FrontV1, transfers: ImageTransfers, streams: Streams): GrpcService {
  const service = new Service(transfers, streams);
  const implementation: TransferServer = {
    transfer: front.namespaced(async ({ namespace, request, metadata, signal }) => {
      const progress = request.options?.progressStream ?? "";
      const listener = progress === "" ? undefined : new ProgressStream(streams.get(namespace, progress));
      try {
        const { lease } = metadata;
        await service.transfer(endOf(request.source), endOf(request.destination), {
          ...{ namespace, signal, listener, lease },
        });
      } finally {
        listener?.end();
      }
      return {};
    }),
  };
  return { definition: TransferService, implementation };
}

class Service {
  readonly #transfers: ImageTransfers;
  readonly #streams: Streams;

  constructor(transfers: ImageTransfers, streams: Streams) {
    this.#transfers = transfers;
    this.#streams = streams;
  }

  async transfer(source: End, destination: End, transfer: Transfer): Promise<void> {
    const { namespace, signal } = transfer;
    const to = destination.kind;
    if (source.kind === "registry" && destination.kind === "store") {
      const { reference } = source.message;
      const access = this.#access(source.message, transfer);
      await this.#transfers.pull({ ...transfer, reference, access, destination: storeOf(destination.message) });
    } else if (source.kind === "import" && destination.kind === "store") {
      const { stream, mediaType, forceCompress } = source.message;
      const given = this.#streams.get(namespace, stream);
      // Who goes away may have said before that this is all: Node's HTTP/2 does.
      const ended = AbortSignal.any([signal, given.signal]);
      const data = receiveData(given, ended);
      const wanted = storeOf(destination.message);
      const request = { ...transfer, signal: ended, data, mediaType, forceCompress, destination: wanted };
      await this.#transfers.import(request);
    } else if (source.kind === "store" && destination.kind === "registry") {
      const { name, platforms } = storeOf(source.message);
      const { reference } = destination.message;
      const access = this.#access(destination.message, transfer);
      await this.#transfers.push({ ...transfer, name: name || fullName(reference), reference, platforms, access });
    } else if (source.kind === "store" && destination.kind === "export") {
      await this.#export(source.message, destination.message, transfer);
    } else if (source.kind === "store" && destination.kind === "store") {
      await this.#transfers.tag({ ...transfer, name: source.message.name, destination: storeOf(destination.message) });
    } else throw new Failure("unimplemented", "refused", { why: `unable to transfer from ${source.kind} to ${to}` });
  }

  async #export(source: ImageStore, message: ImageExportStream, transfer: Transfer): Promise<void> {
    const { platforms, allPlatforms, skipCompatibilityManifest, skipNonDistributable } = message;
    const prefix = source.extraReferences.find(({ isPrefix }) => isPrefix);
    if (prefix) throw new Failure("unimplemented", "refused", { why: `prefix lookup on export: ${prefix.name}` });
    const names = [source.name, ...source.extraReferences.map(({ name }) => name)].filter((name) => name !== "");
    if (names.length === 0) throw refusal("no image to export is named");
    const stream = this.#streams.get(transfer.namespace, message.stream);
    const data = this.#transfers.export({
      ...{ ...transfer, names, allPlatforms, skipCompatibilityManifest, skipNonDistributable },
      platforms: [...platforms, ...source.platforms].map(platformOf),
    });
    await sendData(stream, data, transfer.signal);
  }

  #access({ reference, resolver }: OCIRegistry, { namespace, signal }: Transfer): Access {
    if (resolver === undefined) return {};
    const { authStream, headers, hostDir, defaultScheme } = resolver;
    const { host, name } = parseReference(reference);
    const asked = authStream === "" ? undefined : this.#streams.get(namespace, authStream);
    return {
      headers,
      ...(asked && { credentials: () => askCredentials(asked, host, name, signal) }),
      ...(hostDir !== "" && { hostsDir: hostDir }),
      plainHttp: defaultScheme === "http",
    };
  }
}

function endOf(any: Any | undefined): End {
  const type = any && Object.keys(ENDS).find((name) => isOf(any, `${PACKAGE}${name}`));
  if (any === undefined || type === undefined)
    throw new Failure("unimplemented", "refused", {
      why: `unable to transfer from or to ${JSON.stringify(any?.typeUrl.slice(0, MAX_SHOWN) ?? "nothing")}`,
    });
  return ENDS[type]!(any.value);
}

function storeOf(message: ImageStore): Destination {
  const { name, labels, platforms, allMetadata, manifestLimit, extraReferences, unpacks } = message;
  for (const { snapshotter } of unpacks)
    if (snapshotter !== "" && snapshotter !== SNAPSHOTTER)
      throw new Failure("not-found", "refused", {
        why: `snapshotter ${JSON.stringify(snapshotter.slice(0, MAX_SHOWN))}: there is ${SNAPSHOTTER} only`,
      });
  return {
    ...{ name, labels, allMetadata, manifestLimit },
    platforms: platforms.map(platformOf),
    rules: extraReferences,
    unpacks: unpacks.map(({ platform }) => (platform === undefined ? HERE : platformOf(platform))),
  };
}

function platformOf({ os, architecture, variant, osVersion }: PlatformMessage): Platform {
  return { os, architecture, variant, osVersion };
}

function fullName(reference: string): string {
  return parseReference(reference).name;
}
