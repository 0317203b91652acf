/** Certificates for tests, made with openssl: Node can read X.509 but not write it. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface Identity {
  cert: string;
  key: string;
}

const openssl = (...args: string[]) => execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/** An authority of its own; its files are made in `directory`. */
export class Authority {
  readonly ca: string;
  readonly #key: string;

  constructor(
    readonly directory: string,
    readonly name: string,
  ) {
    this.ca = join(directory, `${name}-ca.pem`);
    this.#key = join(directory, `${name}-ca.key`);
    openssl("req", "-x509", ...NEW_KEY, "-days", "2", "-subj", `/CN=${name}`, "-keyout", this.#key, "-out", this.ca);
  }

  /** A certificate for 127.0.0.1, signed by this authority. `days` may be 0: then it has just ended. Without `purpose` it names none. */
  issue(
    name: string,
    { days = 2, purpose = "serverAuth,clientAuth" }: { days?: number; purpose?: string } = {},
  ): Identity {
    const path = (end: string) => join(this.directory, `${this.name}-${name}.${end}`);
    const identity = { cert: path("pem"), key: path("key") };
    openssl(
      "req",
      ...NEW_KEY,
      "-subj",
      `/CN=${name}`,
      "-addext",
      "subjectAltName=IP:127.0.0.1",
      ...(purpose === "" ? [] : ["-addext", `extendedKeyUsage=${purpose}`]),
      "-keyout",
      identity.key,
      "-out",
      path("csr"),
    );
    openssl(
      "x509",
      "-req",
      "-in",
      path("csr"),
      "-CA",
      this.ca,
      "-CAkey",
      this.#key,
      "-CAcreateserial",
      "-days",
      String(days),
      "-copy_extensions",
      "copy",
      "-out",
      identity.cert,
    );
    return identity;
  }
}

/** The contents of an identity's files. */
export function read({ cert, key }: Identity): { cert: Buffer; key: Buffer } {
  return { cert: readFileSync(cert), key: readFileSync(key) };
}
