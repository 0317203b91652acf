import { createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { type ConnectionInjector, type Server as GrpcServer, ServerCredentials } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { type Owner, ownerOf } from "../../core/tasks/owner.js";
import { type OpeningOptions, openConnection } from "../../services/grpc/authority/connection.js";
import { namePeer } from "../../services/grpc/peer.js";
import { errorText } from "../../system/linux/libc.js";
import { isLeftForLocal } from "../../system/linux/reserved-descriptors.js";
import { peerCredentials, socketPath } from "../../system/linux/socket-options.js";
import type { ListenAddress } from "./address.js";
import { Handshakes } from "./handshakes.js";
import { closeAfterHangUp } from "./hang-up.js";
import { inheritedSockets } from "./inherited-sockets.js";
import { listening } from "./listening.js";
import { isClientCertificate, type TlsFiles, tlsOptions } from "./tls.js";
import { listenUnix } from "./unix-socket.js";

export interface ListenOptions {
  /** Name or id of the group that may connect to unix sockets. */
  group?: string | undefined;
  /** For TCP; without them it must be `insecureTcp`. */
  tls?: TlsFiles | undefined;
  /** TCP without TLS: whoever reaches the port is root on this machine. */
  insecureTcp: boolean;
  log: Logger;
}

/** In ms: how long a TCP client may be silent before the kernel asks whether it is still there. */
const TCP_KEEPALIVE = 30_000;
/** In ms. */
const HANDSHAKE_TIMEOUT = 10_000;

/**
 * All sockets that the daemon listens on, and their connections. We accept them ourselves, since what comes in on a unix socket has to be
 * looked at first (see ../authority).
 */
export class Listeners {
  readonly #options: ListenOptions;
  readonly #injector: ConnectionInjector;
  readonly #servers: Server[] = [];
  /** Of the unix sockets, also of those that the service manager has made. */
  readonly socketPaths: string[] = [];
  /** Connections that have not shown yet how they have to be served. */
  readonly #opening = new Set<Socket>();
  readonly #served = new Set<Socket>();
  #accepted = 0;

  /** Listens nowhere yet. */
  constructor(server: GrpcServer, options: ListenOptions) {
    this.#options = options;
    // TLS is taken off before.
    this.#injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  }

  /** How many connections are open. */
  get open(): number {
    return this.#opening.size + this.#served.size;
  }

  /** How many connections there have been. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Throws Error when the address is taken, can't be had or is not safe to listen on. */
  async listen(address: ListenAddress): Promise<void> {
    const told: { address: string; port?: number } = { address: address.text };
    switch (address.protocol) {
      case "unix": {
        const server = this.#unixServer();
        await listenUnix(server, address.path, this.#options.group);
        this.socketPaths.push(address.path);
        break;
      }
      case "tcp": {
        const server = this.#tcpServer(address.text);
        // Without a host: every address of the machine, as in Go.
        const host = address.host === "" ? {} : { host: address.host };
        await listening(server, `tcp ${address.text.slice("tcp://".length)}`, { ...host, port: address.port });
        const bound = server.address();
        if (bound !== null && typeof bound === "object") told.port = bound.port;
        break;
      }
      case "fd":
        for (const { fd, family } of inheritedSockets(address.name)) {
          await listening(family === "unix" ? this.#unixServer() : this.#tcpServer(address.text), address.text, { fd });
          if (family === "unix") this.socketPaths.push(socketPath(fd));
        }
        break;
    }
    this.#options.log.info(told, "containerd: listening");
  }

  /** Accepts no more, removes socket files, and hangs up on connections as soon as they have been sent everything. */
  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#opening) socket.destroy();
    for (const socket of this.#served) hangUpSoon(socket);
  }

  #unixServer(): Server {
    return this.#follow(
      createServer((socket) => {
        const peer = this.#peerOf(socket);
        this.#open(socket, { patch: true }, (connection) => {
          if (peer !== undefined) namePeer(connection, peer);
        });
      }),
    );
  }

  /** @param known called when it is known what the connection goes through */
  #open(socket: Socket, options: OpeningOptions, known: (connection: Duplex) => void = () => {}): void {
    this.#accepted++;
    keepWhileOpen(this.#opening, socket);
    const serve = (connection: Duplex) => {
      this.#opening.delete(socket);
      known(connection);
      this.#serve(socket, connection);
    };
    openConnection(socket, serve, options);
  }

  #tcpServer(text: string): Server {
    const { tls, insecureTcp } = this.#options;
    if (tls === undefined) {
      if (!insecureTcp) {
        throw new Error(
          `listen ${text}: TCP needs --tls-cert, --tls-key and --tls-ca, or --insecure-tcp: then whoever reaches the port is root here`,
        );
      }
      return this.#follow(createServer(tcpOptions, (socket) => this.#openTcp(socket)));
    }
    const handshakes = new Handshakes();
    const server = createTlsServer(
      { ...tlsOptions(tls), ...tcpOptions, handshakeTimeout: HANDSHAKE_TIMEOUT },
      (socket) => {
        handshakes.done(socket);
        if (isClientCertificate(socket.getPeerCertificate())) this.#openTcp(socket);
        else this.#refuse(socket, "the certificate is not for clients");
      },
    );
    server.on("connection", (socket) => {
      if (isReserved(socket)) this.#refuse(socket, "the descriptors that are left are for unix sockets");
      else handshakes.begin(socket);
    });
    server.on("tlsClientError", (error, socket) => this.#refuse(socket, errorText(error)));
    return this.#follow(server);
  }

  /** Node closes none by itself. */
  #refuse(socket: Socket | TLSSocket, error: string): void {
    this.#options.log.debug({ peer: socket.remoteAddress, error }, "containerd: TCP connection refused");
    socket.destroy();
  }

  #openTcp(socket: Socket): void {
    if (isReserved(socket)) {
      this.#refuse(socket, "the descriptors that are left are for unix sockets");
      return;
    }
    const { remoteAddress, remotePort } = socket;
    this.#options.log.debug({ peer: `${remoteAddress}:${remotePort}` }, "containerd: connection");
    this.#open(socket, { patch: false });
  }

  /** @param connection the socket, or what it goes through */
  #serve(socket: Socket, connection: Duplex): void {
    keepWhileOpen(this.#served, socket);
    const fd = descriptorOf(socket);
    try {
      if (fd !== undefined) closeAfterHangUp(socket, fd);
    } catch (error) {
      this.#options.log.warn({ error: errorText(error) }, "containerd: watch a connection");
    }
    this.#injector.injectConnection(connection);
  }

  #follow(server: Server): Server {
    this.#servers.push(server);
    // Binding errors are thrown; later ones are about single connections (too many open files).
    server.on("error", (error) => {
      if (server.listening) this.#options.log.error({ error: errorText(error) }, "containerd: accept");
    });
    return server;
  }

  /**
   * The process at the other end of a unix socket. Looked up at once, since its pid may be reused later. Never throws: undefined when it is
   * unknown, or when there are no descriptors left to look.
   */
  #peerOf(socket: Socket): Owner | undefined {
    const fd = descriptorOf(socket);
    if (fd === undefined) return undefined;
    try {
      const credentials = peerCredentials(fd);
      this.#options.log.debug(credentials, "containerd: connection");
      return ownerOf(credentials.pid);
    } catch (error) {
      this.#options.log.warn({ error: errorText(error) }, "containerd: who has connected");
      return undefined;
    }
  }
}

/** Node tells nobody a socket's descriptor; this has been its place since there are handles. */
function descriptorOf(socket: Socket): number | undefined {
  const fd = (socket as Socket & { _handle?: { fd?: number } })._handle?.fd;
  return fd !== undefined && fd >= 0 ? fd : undefined;
}

function isReserved(socket: Socket): boolean {
  return isLeftForLocal(descriptorOf(socket) ?? 0);
}

const tcpOptions = { noDelay: true, keepAlive: true, keepAliveInitialDelay: TCP_KEEPALIVE };

function keepWhileOpen(sockets: Set<Socket>, socket: Socket): void {
  sockets.add(socket);
  socket.once("close", () => sockets.delete(socket));
}

/** A client may keep its side open for as long as it likes (grpc-go of 2016 does): we don't wait for it. */
function hangUpSoon(socket: Socket): void {
  if (socket.writableFinished) socket.destroy();
  else socket.once("finish", () => socket.destroy());
}
