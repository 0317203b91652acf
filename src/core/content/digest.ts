import { createHash, type Hash } from "node:crypto";
import { refusal } from "../failure/failure.js";

/** The algorithms, and how many characters a digest of each has. */
const ALGORITHMS: ReadonlyMap<string, number> = new Map([
  ["sha256", 64],
  ["sha384", 96],
  ["sha512", 128],
]);

/** What a blob gets whose writer expects no other. */
export const CANONICAL = "sha256";

const FORM = /^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/;
const HEX = /^[0-9a-f]+$/;
/** In characters: how much of what is no digest is shown. */
const SHOWN = 160;

/** Why a text is no digest that content can have; undefined for one that is: `sha256:` and 64 lower-case digits. */
export function faultOfDigest(text: string): string | undefined {
  if (!FORM.test(text)) return "invalid checksum digest format";
  const { algorithm, encoded } = digestParts(text);
  const length = ALGORITHMS.get(algorithm);
  if (length === undefined) return "unsupported digest algorithm";
  if (encoded.length !== length) return "invalid checksum digest length";
  return HEX.test(encoded) ? undefined : "invalid checksum digest format";
}

/** @throws Failure (invalid-argument) that quotes it */
export function checkDigest(text: string): void {
  const fault = faultOfDigest(text);
  const shown = text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
  if (fault !== undefined) throw refusal(`${JSON.stringify(shown)} failed validation: ${fault}`);
}

/** Of one that {@link checkDigest} takes. */
export function digestParts(digest: string): { algorithm: string; encoded: string } {
  const colon = digest.indexOf(":");
  return { algorithm: digest.slice(0, colon), encoded: digest.slice(colon + 1) };
}

/** A digest in the making. */
export class Digester {
  readonly algorithm: string;
  readonly #hash: Hash;

  /** @param hash goes on from there */
  constructor(algorithm: string = CANONICAL, hash: Hash = createHash(algorithm)) {
    this.algorithm = algorithm;
    this.#hash = hash;
  }

  update(data: Uint8Array): void {
    this.#hash.update(data);
  }

  copy(): Digester {
    return new Digester(this.algorithm, this.#hash.copy());
  }

  /** Of what it has seen so far; it can go on. */
  digest(): string {
    return `${this.algorithm}:${this.#hash.copy().digest("hex")}`;
  }
}
