import type { wire } from "./api.js";
import type { TestDaemon } from "./daemon.js";

/** What events tell of a container, one short text each: "start-container", "start-process e", "exit init 137". */
export const told = (events: wire.Event[], id: string): string[] =>
  events
    .filter((event) => event.id === id)
    .map(({ type, pid, status }) => [type, pid, type === "exit" ? status : ""].join(" ").trim());

/** All events that the daemon has stored. */
export async function stored(daemon: TestDaemon): Promise<wire.Event[]> {
  const stream = daemon.api.subscribe({ timestamp: { seconds: 0n, nanos: 0 }, storedOnly: true });
  await stream.ended;
  return stream.events;
}
