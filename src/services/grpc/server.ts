import { setDefaultHighWaterMark } from "node:stream";
import { Server, type ServiceDefinition, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { plainStatusMessages } from "./grpc-message.js";
import { health } from "./health.js";
import { renewedConnections } from "./renewed-connections.js";

/** A service of an API, as the server registers it. */
export interface GrpcService {
  definition: ServiceDefinition;
  implementation: UntypedServiceImplementation;
}

/** In bytes: as containerd 1.x has it. */
const MAX_MESSAGE = 16 * 1024 * 1024;

/** How many messages of a stream wait unread or unsent: a slow caller costs no more memory than these. Node's 16 may have 256 MB. */
const MAX_WAITING = 2;

/** A gRPC server with these services and that of health, bound to nothing yet. */
export function createServer(services: readonly GrpcService[]): Server {
  // Of all streams of objects in this process: grpc-js has no option for those of its calls.
  setDefaultHighWaterMark(true, MAX_WAITING);
  // channelz keeps books on every call for an introspection service that is not served here.
  const server = new Server({
    interceptors: [plainStatusMessages, renewedConnections],
    "grpc.enable_channelz": 0,
    "grpc.max_receive_message_length": MAX_MESSAGE,
  });
  for (const { definition, implementation } of [...services, health]) server.addService(definition, implementation);
  return server;
}
