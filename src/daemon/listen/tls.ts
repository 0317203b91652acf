import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext, type TlsOptions } from "node:tls";
import { errorText } from "../../linux/libc.js";

/** PEM files: the daemon's certificate and key, and the authority that clients' certificates must come from. */
export interface TlsFiles {
  cert: string;
  key: string;
  ca: string;
}

/**
 * The files that the flags name; undefined when they name none.
 * @throws Error when they name some of the three only
 */
export function tlsFiles(flags: { tlsCert?: string; tlsKey?: string; tlsCa?: string }): TlsFiles | undefined {
  const { tlsCert: cert, tlsKey: key, tlsCa: ca } = flags;
  if (cert !== undefined && key !== undefined && ca !== undefined) return { cert, key, ca };
  if (cert === undefined && key === undefined && ca === undefined) return undefined;
  throw new Error("--tls-cert, --tls-key and --tls-ca go together: clients must show a certificate");
}

/**
 * TLS as the API is served with: clients must have a certificate of our authority, which makes them root on this machine.
 * @throws Error that names the file which is missing or no PEM, or says that key and certificate don't match
 */
export function tlsOptions(files: TlsFiles): TlsOptions {
  const read = (flag: keyof TlsFiles) => {
    try {
      return readFileSync(files[flag]);
    } catch (error) {
      throw new Error(`--tls-${flag}: ${errorText(error)}`);
    }
  };
  const options = { cert: read("cert"), key: read("key"), ca: read("ca"), minVersion: "TLSv1.2" as const };
  const check = (flags: string, use: () => void) => {
    try {
      use();
    } catch (error) {
      throw new Error(`${flags}: ${errorText(error)}`);
    }
  };
  // createSecureContext would pass over an authority that is no certificate.
  check("--tls-ca", () => new X509Certificate(options.ca));
  check("--tls-cert, --tls-key", () => createSecureContext(options));
  return { ...options, requestCert: true, rejectUnauthorized: true, ALPNProtocols: ["h2"] };
}
