import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { secondsAndNanos } from "../../contract/go/rfc3339.js";
import type { ContainerRecord } from "../../core/containers/container-record.js";
import { Container } from "../../proto/containerd/services/containers/v1/containers.js";

export function messageOf(record: ContainerRecord): Container {
  const { runtime, createdAt, updatedAt } = record;
  return {
    ...record,
    runtime: { name: runtime.name, options: runtime.options },
    spec: record.spec,
    createdAt: secondsAndNanos(createdAt),
    updatedAt: secondsAndNanos(updatedAt),
  };
}

const answers = new WeakMap<ContainerRecord, Buffer>();

/** A GetContainerResponse; kept for as long as the record is, which somebody asks for again and again. */
export function encodedContainer(record: ContainerRecord): Buffer {
  let answer = answers.get(record);
  if (answer === undefined) {
    answer = encodedContainers([record]);
    answers.set(record, answer);
  }
  return answer;
}

/** What begins a field, as it is on the wire: a container of an answer, the spec of a container, type and value of an Any. */
const CONTAINER = 10;
const SPEC = 42;
const TYPE_URL = 10;
const VALUE = 18;

/** A ListContainersResponse. The specs, which are nearly all of it, are written once, to where they stay. */
export function encodedContainers(records: readonly ContainerRecord[]): Buffer {
  const writer = new BinaryWriter();
  const parts = records.map((record) => {
    const others = Container.encode(messageOf({ ...record, spec: undefined }), writer).finish();
    const { spec } = record;
    if (spec === undefined) return { others, spec, specLength: 0, length: others.length };
    const specLength = sizeOfField(Buffer.byteLength(spec.typeUrl)) + sizeOfField(spec.value.length);
    return { others, spec, specLength, length: others.length + sizeOfField(specLength) };
  });
  const answer = Buffer.allocUnsafe(parts.reduce((total, { length }) => total + sizeOfField(length), 0));
  let at = 0;
  for (const { others, spec, specLength, length } of parts) {
    at = beginField(answer, at, CONTAINER, length);
    answer.set(others, at);
    at += others.length;
    if (spec === undefined) continue;
    at = beginField(answer, at, SPEC, specLength);
    at = beginField(answer, at, TYPE_URL, Buffer.byteLength(spec.typeUrl));
    at += answer.write(spec.typeUrl, at);
    at = beginField(answer, at, VALUE, spec.value.length);
    at += spec.value.copy(answer, at);
  }
  return answer;
}

/** Of a field whose tag is one byte: that, its length, and its content. */
function sizeOfField(length: number): number {
  let size = 2 + length;
  for (let rest = length; rest > 0x7f; rest >>>= 7) size++;
  return size;
}

/** @returns where the content of the field begins */
function beginField(target: Buffer, at: number, tag: number, length: number): number {
  let next = target.writeUInt8(tag, at);
  let rest = length;
  for (; rest > 0x7f; rest >>>= 7) next = target.writeUInt8((rest & 0x7f) | 0x80, next);
  return target.writeUInt8(rest, next);
}
