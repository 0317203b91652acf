import { sendUnixDatagram } from "../../system/linux/datagram.js";

/**
 * Tells the service manager that the daemon is ready or stopping (sd_notify(3)); does nothing when it was not started by one that wants to
 * know.
 * @throws a system error when the message can't be sent
 */
export function notifyServiceManager(state: "READY=1" | "STOPPING=1"): void {
  const path = process.env.NOTIFY_SOCKET;
  if (path) sendUnixDatagram(path, state);
}
