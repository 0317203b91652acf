/** Where to listen; `text` as the user wrote it. */
export type ListenAddress =
  | { protocol: "unix"; path: string; text: string }
  | { protocol: "tcp"; host: string; port: number; text: string }
  /** Sockets that the service manager has opened: all, or those of a name or number. */
  | { protocol: "fd"; name: string; text: string };

/** Bytes that sockaddr_un has for a path, without the final NUL. */
const LONGEST_PATH = 107;

/** @throws Error that quotes an address that can't be listened on */
export function parseListenAddress(text: string): ListenAddress {
  const at = text.indexOf("://");
  if (at < 0) throw new Error(`bad listen address format ${text}, expected proto://address`);
  const protocol = text.slice(0, at);
  const address = text.slice(at + "://".length);
  const bad = (why: string) => new Error(`bad listen address ${text}: ${why}`);
  switch (protocol) {
    case "unix":
      if (address === "") throw bad("no address");
      if (address.startsWith("@")) throw bad("an abstract socket has no owner and no mode: everyone could connect");
      if (Buffer.byteLength(address) > LONGEST_PATH) throw bad(`the path is longer than ${LONGEST_PATH} bytes`);
      return { protocol, path: address, text };
    case "tcp": {
      const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(address) ?? [];
      const port = Number(digits);
      if (digits === undefined || port > 65_535) throw bad("expected tcp://host:port");
      return { protocol, host: bracketed ?? plain ?? "", port, text };
    }
    case "fd":
      return { protocol, name: address, text };
    default:
      throw bad(`protocol ${JSON.stringify(protocol)} is not supported`);
  }
}
