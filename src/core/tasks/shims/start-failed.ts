import { Failure } from "../../failure/failure.js";

/**
 * What a shim's `failed …` says. An older shim, which a daemon can meet while it is being replaced with its program, has quoted the
 * runtime's output itself.
 */
export function startFailed(message: string): Failure {
  const [, status, output = ""] = /^failed (\d+)\0(.*)$/s.exec(message) ?? [];
  return status === undefined
    ? new Failure("internal", "shim-start-failed", { text: message.slice("failed ".length) })
    : new Failure("internal", "runtime-failed", { call: "start", status: Number(status), output });
}
