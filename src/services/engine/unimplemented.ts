import { Metadata, type ServiceDefinition, status } from "@grpc/grpc-js";

/** What is not served yet. */
export function unimplemented(service: ServiceDefinition): Record<string, unknown> {
  type Refused = { emit(event: "error", error: object): void };
  const refuse = (path: string) => (call: Refused, respond?: (error: object) => void) => {
    const details = `this version of the daemon does not have ${path} yet`;
    const error = { code: status.UNIMPLEMENTED, details, metadata: new Metadata() };
    if (respond === undefined) call.emit("error", error);
    else respond(error);
  };
  return Object.fromEntries(Object.entries(service).map(([name, { path }]) => [name, refuse(path)]));
}
