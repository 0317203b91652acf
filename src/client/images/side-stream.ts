import { randomUUID } from "node:crypto";
import { StreamInit } from "../../proto/containerd/services/streaming/v1/streaming.js";
import { Progress } from "../../proto/containerd/types/transfer/progress.js";
import { AuthRequest, AuthResponse, AuthType } from "../../proto/containerd/types/transfer/registry.js";
import { Data, WindowUpdate } from "../../proto/containerd/types/transfer/streaming.js";
import type { Any } from "../../proto/google/protobuf/any.js";
import type { Exchange } from "../api/exchange.js";
import type { V1CallOptions } from "../api/services.js";
import type { V1 } from "../api/v1.js";
import type { AuthQuestion, RegistryAuth, RegistryCredentials } from "./registry-auth.js";

export const TYPES = "containerd.types.transfer.";
/** In bytes: how much the daemon may send before it is told to go on. */
const WINDOW = 1 << 20;
/** In bytes: of one message. */
const LARGEST = 64 * 1024;

/** A stream beside a transfer, which names it: data, progress, or questions. */
export class SideStream implements Disposable {
  readonly id: string;
  readonly #exchange: Exchange<Any, Any>;

  private constructor(id: string, exchange: Exchange<Any, Any>) {
    this.id = id;
    this.#exchange = exchange;
  }

  /** Resolves once a call can name it. */
  static async open(v1: V1, options: V1CallOptions): Promise<SideStream> {
    const exchange = await v1.streaming.stream(options);
    const id = randomUUID();
    void exchange.send(any("containerd.services.streaming.v1.StreamInit", StreamInit.encode({ id })));
    const { done } = await exchange.next();
    if (done) throw new Error("the daemon has ended a stream that it was asked for");
    return new SideStream(id, exchange);
  }

  /** What happens, until the transfer is over. */
  async *progress(): AsyncGenerator<Progress> {
    for await (const { value } of this.#exchange) yield Progress.decode(value);
  }

  /**
   * Answers who asks for credentials, as long as somebody can.
   * @param fail is told what `auth` has thrown
   */
  async answer(auth: RegistryAuth, fail: (error: unknown) => void): Promise<void> {
    try {
      for await (const { value } of this.#exchange) {
        const { host, reference } = AuthRequest.decode(value);
        const given = await credentialsOf(auth, { host, reference }).catch(fail);
        await this.#exchange.send(any(`${TYPES}AuthResponse`, AuthResponse.encode(authMessage(given ?? undefined))));
      }
    } catch {
      // The transfer is over, and tells how.
    }
  }

  /** Sends all of it, as fast as it is taken; resolves when all is on its way, or nobody takes any more. */
  async sendData(data: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>): Promise<void> {
    const window = new Window(this.#exchange);
    for await (const piece of data) {
      const chunk = Buffer.from(piece as Uint8Array);
      for (let at = 0; at < chunk.length; ) {
        const size = await window.take(Math.min(LARGEST, chunk.length - at));
        // The transfer tells why.
        if (size === 0) return;
        await this.#exchange.send(any(`${TYPES}Data`, Data.encode({ data: chunk.subarray(at, at + size) })));
        at += size;
      }
    }
    this.#exchange.end();
  }

  /** What comes, as it is taken. */
  async *receiveData(): AsyncGenerator<Buffer> {
    let open = 0;
    const ask = () => {
      if (open > WINDOW / 2) return;
      const update = WINDOW - open;
      open += update;
      void this.#exchange.send(any(`${TYPES}WindowUpdate`, WindowUpdate.encode({ update })));
    };
    ask();
    for await (const { typeUrl, value } of this.#exchange) {
      if (typeUrl !== `${TYPES}Data`) continue;
      const { data } = Data.decode(value);
      open -= data.length;
      yield data;
      ask();
    }
  }

  [Symbol.dispose](): void {
    this.#exchange.cancel();
  }
}

/** How much the other side wants. */
class Window {
  #size = 0;
  #isOver = false;
  #wake = () => {};

  constructor(exchange: Exchange<Any, Any>) {
    void this.#follow(exchange);
  }

  /** @returns how many bytes may be sent, up to `wanted`; 0 when nobody takes any more */
  async take(wanted: number): Promise<number> {
    while (this.#size <= 0 && !this.#isOver) {
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
    }
    const size = this.#isOver ? 0 : Math.min(wanted, this.#size);
    this.#size -= size;
    return size;
  }

  async #follow(exchange: Exchange<Any, Any>): Promise<void> {
    try {
      for await (const { typeUrl, value } of exchange) {
        if (typeUrl === `${TYPES}WindowUpdate`) this.#size += WindowUpdate.decode(value).update;
        this.#wake();
      }
    } catch {
      // The transfer tells why.
    }
    this.#isOver = true;
    this.#wake();
  }
}

async function credentialsOf(auth: RegistryAuth, about: AuthQuestion): Promise<RegistryCredentials | undefined> {
  return typeof auth === "function" ? await auth(about) : auth;
}

function authMessage(auth: RegistryCredentials | undefined): AuthResponse {
  const none = { username: "", secret: "", expireAt: undefined };
  if (auth === undefined) return { ...none, authType: AuthType.NONE };
  if ("identityToken" in auth) return { ...none, authType: AuthType.REFRESH, secret: auth.identityToken };
  if ("registryToken" in auth) return { ...none, authType: AuthType.HEADER, secret: `Bearer ${auth.registryToken}` };
  return { ...none, authType: AuthType.CREDENTIALS, username: auth.username, secret: auth.password };
}

export function any(typeUrl: string, writer: { finish(): Uint8Array }): Any {
  return { typeUrl, value: Buffer.from(writer.finish()) };
}
