import { secondsAndNanos } from "../../contract/go/rfc3339.js";
import { Failure, refusal } from "../../core/failure/failure.js";
import type { Descriptor, ImageRecord, Images } from "../../core/images/image-records.js";
import type { Collection } from "../../core/metadata/collection.js";
import type { Labels } from "../../core/metadata/labels.js";
import { type Image, type ImagesServer, ImagesService } from "../../proto/containerd/services/images/v1/images.js";
import type { Descriptor as DescriptorMessage } from "../../proto/containerd/types/descriptor.js";
import type { GrpcService } from "../grpc/server.js";
import { type MaskFields, masked } from "./field-mask.js";
import { entry, type Field, filtered, present } from "./filters/filter.js";
import type { FrontV1 } from "./front.js";

/** What may change of an image; the annotations are those of its target. */
interface Mutable {
  labels: Labels;
  target: Descriptor;
  annotations: Readonly<Record<string, string>>;
}

const MUTABLE: MaskFields<Mutable> = new Map([
  ["labels", { field: "labels", isMap: true }],
  ["target", { field: "target" }],
  ["annotations", { field: "annotations", isMap: true }],
]);

/** The records of images. */
export function imagesService(front: FrontV1, images: Images, collection: Collection): GrpcService {
  const implementation: ImagesServer = {
    get: front.namespaced(async ({ namespace, request }) => ({
      image: messageOf(await images.get(namespace, request.name)),
    })),
    list: front.namespaced(async ({ namespace, request }) => ({
      images: (await filtered(await images.list(namespace), request.filters, fieldOf)).map(messageOf),
    })),
    create: front.namespaced(async ({ namespace, request }) => ({
      image: messageOf(await images.create(namespace, wantedOf(request.image))),
    })),
    update: front.namespaced(async ({ namespace, request: { image, updateMask } }) => {
      const wanted = wantedOf(image);
      const { name } = wanted;
      const record = await images.update(namespace, name, (before) => {
        const after = masked(
          mutableOf(before),
          mutableOf(wanted),
          updateMask,
          MUTABLE,
          `image ${JSON.stringify(name)}`,
        );
        const { labels, target, annotations } = after;
        const isAnnotated = annotations !== before.target.annotations;
        return { name, labels, target: isAnnotated ? { ...target, annotations } : target };
      });
      return { image: messageOf(record) };
    }),
    delete: front.namespaced(async ({ namespace, request: { name, sync, target } }) => {
      await images.delete(namespace, name, (record) => {
        if (target !== undefined && target.digest !== record.target.digest) throw changed(record, target);
      });
      if (sync) await collection.run();
      return {};
    }),
  };
  return { definition: ImagesService, implementation };
}

/** It is not the one that was to be deleted. */
function changed({ name, target }: ImageRecord, wanted: DescriptorMessage): Failure {
  const why = `image ${JSON.stringify(name)} has target ${target.digest}, not ${wanted.digest}`;
  return new Failure("not-found", "refused", { why });
}

function mutableOf({ labels, target }: Pick<ImageRecord, "labels" | "target">): Mutable {
  return { labels, target, annotations: target.annotations };
}

function fieldOf({ name: image, labels, target }: ImageRecord): Field {
  return ([name, ...path]) => {
    if (name === "name") return present(image);
    if (name === "labels") return entry(labels, path);
    if (name === "annotations") return entry(target.annotations, path);
    if (name !== "target") return undefined;
    return path[0] === "digest" ? target.digest : path[0] === "mediatype" ? target.mediaType : undefined;
  };
}

function wantedOf(image: Image | undefined): Pick<ImageRecord, "name" | "labels" | "target"> {
  const { name = "", labels = {}, target } = image ?? {};
  if (name === "") throw refusal("Image.Name required");
  const { mediaType = "", digest = "", size = 0n, annotations = {} } = target ?? {};
  return { name, labels, target: { mediaType, digest, size: Number(size), annotations } };
}

function messageOf({ name, labels, target, createdAt, updatedAt }: ImageRecord): Image {
  const { mediaType, digest, size, annotations } = target;
  return {
    name,
    labels,
    target: { mediaType, digest, size: BigInt(size), annotations: { ...annotations } },
    createdAt: secondsAndNanos(createdAt),
    updatedAt: secondsAndNanos(updatedAt),
  };
}
