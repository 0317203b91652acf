import { abortable } from "../../../core/failure/abortable.js";
import { refusal } from "../../../core/failure/failure.js";
import type { Credentials } from "../../../core/registry/credentials.js";
import { AuthRequest, AuthResponse, AuthType } from "../../../proto/containerd/types/transfer/registry.js";
import { type ClientStream, isOf } from "../streaming.js";

/** Asks a client over a stream who it is at a registry; undefined: nobody that has to be known. */
export async function askCredentials(
  stream: ClientStream,
  host: string,
  reference: string,
  signal: AbortSignal,
): Promise<Credentials | undefined> {
  const value = Buffer.from(AuthRequest.encode({ host, reference, wwwauthenticate: [] }).finish());
  await stream.send({ typeUrl: "containerd.types.transfer.AuthRequest", value });
  const answer = await abortable(stream.receive(), signal);
  if (answer === undefined) return undefined;
  if (!isOf(answer, "containerd.types.transfer.AuthResponse")) throw refusal("a stream for credentials gave none");
  const { authType, username, secret } = AuthResponse.decode(answer.value);
  if (authType === AuthType.CREDENTIALS) return { kind: "password", username, password: secret };
  if (authType === AuthType.REFRESH) return { kind: "identity-token", token: secret };
  return authType === AuthType.HEADER ? ofHeader(secret) : undefined;
}

/** Of an Authorization header, whose value is not to be shown. */
function ofHeader(header: string): Credentials {
  const [, scheme = "", rest = ""] = /^\s*(\S+)\s+(\S+)\s*$/.exec(header) ?? [];
  if (scheme.toLowerCase() === "bearer") return { kind: "registry-token", token: rest };
  const [, username, password] = /^([^:]*):(.*)$/s.exec(Buffer.from(rest, "base64").toString()) ?? [];
  if (scheme.toLowerCase() !== "basic" || username === undefined || password === undefined)
    throw refusal("the header Authorization of a client is neither Basic nor Bearer");
  return { kind: "password", username, password };
}
