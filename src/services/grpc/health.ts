import { status } from "@grpc/grpc-js";
import { type HealthServer, HealthService, HealthCheckResponse_ServingStatus as Serving } from "../../proto/health.js";
import type { GrpcService } from "./server.js";

const implementation: HealthServer = {
  check(call, respond) {
    if (call.request.service === "") respond(null, { status: Serving.SERVING });
    else respond({ code: status.NOT_FOUND, details: "unknown service" });
  },
};

/** The standard health service. It answers from the moment the socket is bound. */
export const health: GrpcService = { definition: HealthService, implementation };
