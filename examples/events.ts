// Follows the daemon's events, also across its restarts: `node scripts/run-typescript.mjs examples/events.ts [CONTAINER]`.
import { connect, toDate } from "containerd-ts";

await using client = connect();

// Ctrl-C ends the loop, and what has begun is finished.
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());

try {
  // From the first event that the daemon remembers on.
  for await (const event of client.v0.events({ since: 0, id: process.argv[2], signal: stop.signal })) {
    const time = event.timestamp ? toDate(event.timestamp).toISOString() : "";
    const what = event.type === "exit" ? `exit with status ${event.status}` : event.type;
    console.log(`${time} ${event.id} ${event.pid || "init"}: ${what}`);
  }
} catch (error) {
  if (!stop.signal.aborted) throw error;
}
console.log("stopped");
