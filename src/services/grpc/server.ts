import { Server, status } from "@grpc/grpc-js";
import { type APIServer, APIService, type GetServerVersionResponse } from "../../proto/containerd.js";
import { type HealthServer, HealthService, HealthCheckResponse_ServingStatus as Serving } from "../../proto/health.js";
import { createCheckpoint, deleteCheckpoint, listCheckpoint } from "../v0/checkpoints.js";
import { createContainer, getState, getStats, updateContainer } from "../v0/containers.js";
import { events } from "../v0/events.js";
import { addProcess, signal, updateProcess } from "../v0/processes.js";
import { plainStatusMessages } from "./grpc-message.js";
import { type ApiContext, unary } from "./unary.js";

/** A gRPC server with the API and the health service, bound to nothing yet. */
export function createServer(context: ApiContext, version: GetServerVersionResponse): Server {
  // channelz keeps books on every call for an introspection service that is not served here.
  const server = new Server({ interceptors: [plainStatusMessages], "grpc.enable_channelz": 0 });
  const api: APIServer = {
    getServerVersion: (_call, respond) => respond(null, version),
    createContainer: unary(context, createContainer),
    updateContainer: unary(context, updateContainer),
    signal: unary(context, signal),
    updateProcess: unary(context, updateProcess),
    addProcess: unary(context, addProcess),
    createCheckpoint: unary(context, createCheckpoint),
    deleteCheckpoint: unary(context, deleteCheckpoint),
    listCheckpoint: unary(context, listCheckpoint),
    state: unary(context, getState),
    events: (call) => events(context, call),
    stats: unary(context, getStats),
  };
  const health: HealthServer = {
    check(call, respond) {
      if (call.request.service === "") respond(null, { status: Serving.SERVING });
      else respond({ code: status.NOT_FOUND, details: "unknown service" });
    },
  };
  server.addService(APIService, api);
  server.addService(HealthService, health);
  return server;
}
