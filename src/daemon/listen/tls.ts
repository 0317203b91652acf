import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext, type PeerCertificate, type TlsOptions } from "node:tls";
import { errorText } from "../../system/linux/libc.js";

/** With forward secrecy, and encryption that authenticates: what HTTP/2 asks for (RFC 9113, 9.2.2). The first three are TLS 1.3's. */
const ciphers = [
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "TLS_AES_128_GCM_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");

/** What a certificate says that it is for: the client's side of TLS (RFC 5280, 4.2.1.12). */
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";

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
  const options = { cert: read("cert"), key: read("key"), ca: read("ca"), minVersion: "TLSv1.2" as const, ciphers };
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

/** Whether a certificate says that it is for clients. OpenSSL lets one pass that says nothing, as a server's of the same authority may. */
export function isClientCertificate(certificate: PeerCertificate): boolean {
  return certificate.ext_key_usage?.includes(CLIENT_AUTH) ?? false;
}
