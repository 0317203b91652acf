/** Directories on file systems that do not answer: who names one waits, and nobody else. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { useContainerd1 } from "../harness/containerd1.js";
import { bindOf, importImage, newId, requestFor, texts } from "../harness/engine.js";
import { full } from "../harness/extent.js";
import { mountSilence } from "../harness/silence.js";
import { refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();

test.skipIf(!full)("a rootfs whose file system does not answer holds up nobody else", async () => {
  const { daemon } = fixture;
  await importImage(daemon);
  const { engine } = daemon.v1();
  const silent = join(daemon.dir, "silent");
  const end = mountSilence(silent);
  let ended = false;
  const stop = () => {
    if (!ended) end();
    ended = true;
  };
  try {
    const [asIs, below, source] = [newId(daemon), newId(daemon), newId(daemon)];
    const config = { args: texts("true") };
    const attempts = [
      requestFor({ id: asIs, config: { ...config, rootfs: join(silent, "as-is") } }),
      requestFor({ id: below, config: { ...config, rootfs: join(silent, "below"), writable: true } }),
      requestFor({
        id: source,
        config: {
          ...config,
          mounts: [bindOf(join(silent, "source"), "/mnt")],
        },
      }),
    ].map((request) => refusal(engine.create(request)));
    // Some thread of it waits there.
    await eventually(() => expect(waiting(daemon.pid)).toBeGreaterThanOrEqual(2));
    const other = newId(daemon);
    await engine.create(requestFor({ id: other, config }));
    expect((await engine.get({ id: other })).status).toBe("created");
    await engine.remove({ id: other });
    stop();
    for (const refused of await Promise.all(attempts))
      expect(refused).toMatch(/INVALID_ARGUMENT|DEADLINE_EXCEEDED|INTERNAL/);
    for (const id of [asIs, below, source]) expect(await refusal(engine.get({ id }))).toContain("NOT_FOUND");
  } finally {
    stop();
  }
});

/** How many threads of a process wait for a file system. */
function waiting(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).filter((thread) => {
    try {
      return /fuse|request_wait/.test(readFileSync(`/proc/${pid}/task/${thread}/wchan`, "utf8"));
    } catch {
      return false;
    }
  }).length;
}
