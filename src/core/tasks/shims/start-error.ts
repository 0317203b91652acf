import { exitText } from "../runtime/oci-runtime.js";

/**
 * What a shim's `failed …` says, in the original's words. An older shim, which a daemon can meet while it is being replaced with its program, has
 * quoted the runtime's output itself.
 */
export function startError(message: string): string {
  const [, status, output = ""] = /^failed (\d+)\0(.*)$/s.exec(message) ?? [];
  return status === undefined ? message.slice("failed ".length) : exitText(Number(status), output);
}
