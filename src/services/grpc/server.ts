import { Server, type ServiceDefinition, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { plainStatusMessages } from "./grpc-message.js";
import { health } from "./health.js";

/** A service of an API, as the server registers it. */
export interface GrpcService {
  definition: ServiceDefinition;
  implementation: UntypedServiceImplementation;
}

/** A gRPC server with these services and that of health, bound to nothing yet. */
export function createServer(services: readonly GrpcService[]): Server {
  // channelz keeps books on every call for an introspection service that is not served here.
  const server = new Server({ interceptors: [plainStatusMessages], "grpc.enable_channelz": 0 });
  for (const { definition, implementation } of [...services, health]) server.addService(definition, implementation);
  return server;
}
