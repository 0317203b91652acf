import { type Profiler, Session } from "node:inspector/promises";
import { setTimeout as delay } from "node:timers/promises";

/** In microseconds between two looks at the stack. */
const SAMPLING_INTERVAL = 1000;

/**
 * Records where the main thread spends its time, in the form of Chrome DevTools' .cpuprofile. The session with V8 stays inside the process:
 * no port is opened.
 * @param duration in ms
 * @param signal ends the recording early: rejects with its reason
 */
export async function recordCpuProfile(duration: number, signal: AbortSignal): Promise<Profiler.Profile> {
  const session = new Session();
  session.connect();
  try {
    await session.post("Profiler.enable");
    await session.post("Profiler.setSamplingInterval", { interval: SAMPLING_INTERVAL });
    await session.post("Profiler.start");
    await delay(duration, undefined, { signal });
    return (await session.post("Profiler.stop")).profile;
  } finally {
    session.disconnect();
  }
}
