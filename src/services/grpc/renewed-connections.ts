// Its types only: the module itself looks at `process.stderr`, and would be loaded before that is ours.
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { ServerInterceptingCall, ServerInterceptor } from "@grpc/grpc-js";

/**
 * How many streams of a connection a client may reset at once, and how many more each second. nghttp2 breaks off a connection, with all the
 * calls on it, at the 1,001st, and 33 more each second; Node 20 can't tell it otherwise. Half of that is for calls under way.
 */
const BURST = 500;
const PER_SECOND = 33;
/** Of HTTP/2: nothing was wrong with the stream, or the connection. */
const NO_ERROR = 0;

/** What a connection may still have reset. */
interface Allowance {
  left: number;
  /** In ms of `performance.now()`: when that was so. */
  since: number;
}

/** Nothing is left, whatever is added: the client has been asked to connect anew. */
const RENEWED = Number.NEGATIVE_INFINITY;

const allowances = new WeakMap<ServerHttp2Session, Allowance>();

/**
 * Has clients that reset many streams connect anew before nghttp2 breaks off the connection: they are told in good time that it takes no
 * new calls, and those that are under way on it come to their ends. Debian's ctr reads a blob in pieces of 1 MiB, a call each, and resets
 * each as soon as it has all of its bytes: a push of more than a GB would fail.
 */
export const renewedConnections: ServerInterceptor = (method, call) => {
  // grpc-js tells nobody a call's stream; this has been its place since there are interceptors.
  const { stream } = call as { stream?: ServerHttp2Stream };
  const session = stream?.session as ServerHttp2Session | undefined;
  if (stream !== undefined && session !== undefined) {
    stream.once("close", () => {
      // A client that has read all of a stream may reset it when it is over here already: Node does not tell then, but nghttp2 counts.
      if (stream.rstCode !== NO_ERROR || method.responseStream) spend(session);
    });
  }
  return call as ServerInterceptingCall;
};

function spend(session: ServerHttp2Session): void {
  if (session.closed || session.destroyed) return;
  const now = performance.now();
  const { left, since } = allowances.get(session) ?? { left: BURST, since: now };
  const less = Math.min(BURST, left + ((now - since) / 1_000) * PER_SECOND) - 1;
  allowances.set(session, { left: less < 1 ? RENEWED : less, since: now });
  if (less < 1 && left !== RENEWED) renew(session);
}

/**
 * The first GOAWAY has the client begin no more streams here, and nghttp2 leave those alone that it has begun meanwhile. The second says
 * which these are: the client begins them again elsewhere. Were there only that one, nghttp2 could still serve some of them.
 */
function renew(session: ServerHttp2Session): void {
  session.goaway(NO_ERROR, 2 ** 31 - 1);
  const close = () => {
    if (!session.closed && !session.destroyed) session.close();
  };
  if (!session.ping(close)) close();
}
