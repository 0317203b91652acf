import { Metadata, type ServerInterceptingCall, type ServerInterceptor, status } from "@grpc/grpc-js";

/** In bytes. A runtime may print a lot; clients give up on headers that are too large, and the status with them. */
const LONGEST = 8192;

/**
 * A status message as it goes over the wire: only what is not 0x20 – 0x7E, and "%", is percent-encoded (the gRPC over HTTP/2 specification,
 * "Percent-Encoded"), and spaces at the ends, which HTTP/2 forbids there: Node's client takes such a message for none at all. From a very
 * long one the middle is left out: its cause tends to be at the end.
 */
export function encodeGrpcMessage(text: string): string {
  const bytes = Buffer.from(text);
  const cut = bytes.length > LONGEST;
  const half = LONGEST / 2;
  const kept = cut ? `${bytes.toString("utf8", 0, half)} … ${bytes.toString("utf8", bytes.length - half)}` : text;
  return kept.replace(/[^\x20-\x7e]+|%|^ +| +$/g, (part) =>
    [...Buffer.from(part)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}

/**
 * Has every status, grpc-js' own included, go out with its message encoded as grpc-go does it. grpc-js uses `encodeURI`, which encodes
 * spaces too: grpc-go of 2016 does not decode anything, and Docker looks for words in these messages.
 *
 * A call's `sendStatus` is replaced in place, since grpc-js' own statuses (deadline, message too large) don't pass through interceptors.
 * The metadata of a status wins over its details.
 */
export const plainStatusMessages: ServerInterceptor = (_method, call) => {
  const send = call.sendStatus.bind(call);
  call.sendStatus = (answer) => {
    if (answer.code === status.OK) return send(answer);
    const metadata = answer.metadata?.clone() ?? new Metadata();
    metadata.set("grpc-message", encodeGrpcMessage(answer.details ?? ""));
    send({ ...answer, details: "", metadata });
  };
  return call as ServerInterceptingCall;
};
