import { mkdirSync, rmdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { hasHierarchies, ScratchCgroup } from "../../../test/harness/scratch-cgroup.js";
import { PATIENCE } from "../../../test/harness/wait.js";
import { EPOLLIN, epoll } from "../linux/epoll.js";
import type { OomWatch } from "./cgroup.js";
import { watchOomV1 } from "./oom-v1.js";
import { CounterWatch, watchOomV2 } from "./oom-v2.js";

/** What `read` says the next time that the watch is readable. */
async function next(watch: OomWatch): Promise<ReturnType<OomWatch["read"]>> {
  return await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error("never readable")), PATIENCE);
    epoll.add(watch.fd, EPOLLIN, () => {
      clearTimeout(late);
      epoll.remove(watch.fd);
      resolve(watch.read());
    });
  });
}

/** The first thing that it says but "nothing". */
async function news(watch: OomWatch): Promise<ReturnType<OomWatch["read"]>> {
  for (;;) {
    const said = await next(watch);
    if (said !== "nothing") return said;
  }
}

async function readable(watch: OomWatch, milliseconds: number): Promise<boolean> {
  try {
    return await new Promise((resolve) => {
      setTimeout(() => resolve(false), milliseconds);
      epoll.add(watch.fd, EPOLLIN, () => resolve(true));
    });
  } finally {
    epoll.remove(watch.fd);
  }
}

describe.skipIf(!hasHierarchies("memory"))("v1", () => {
  function limited(): ScratchCgroup {
    const scratch = new ScratchCgroup(["memory"]);
    limit(scratch);
    return scratch;
  }

  function limit(scratch: ScratchCgroup): void {
    scratch.write("memory", "memory.limit_in_bytes", "8388608");
    scratch.write("memory", "memory.swappiness", "0");
  }

  /** A process that takes memory until it is killed for it. */
  async function outOfMemory(scratch: ScratchCgroup): Promise<void> {
    const child = scratch.run("exec tail /dev/zero");
    await new Promise((resolve) => child.once("exit", resolve));
    expect(child.signalCode).toBe("SIGKILL");
  }

  test("every OOM kill, then the removal", async () => {
    await using scratch = limited();
    const watch = watchOomV1(scratch.path("memory"));
    try {
      expect(await readable(watch, 100)).toBe(false);
      for (let i = 0; i < 2; i++) {
        const said = news(watch);
        await outOfMemory(scratch);
        expect(await said).toBe("oom");
        // The kernel may signal more than once for a kill; it is told once.
        while (await readable(watch, 600)) expect(watch.read()).toBe("nothing");
      }
      await scratch.remove();
      expect(await news(watch)).toBe("removed");
    } finally {
      watch.close();
    }
  });

  test("a process that ends by itself is no OOM", async () => {
    await using scratch = limited();
    const watch = watchOomV1(scratch.path("memory"));
    try {
      const child = scratch.run("exec true");
      await new Promise((resolve) => child.once("exit", resolve));
      expect(await readable(watch, 100)).toBe(false);
      expect(watch.read()).toBe("nothing");
    } finally {
      watch.close();
    }
  });

  test("a kill before the watch counts, unless the past is ignored", async () => {
    await using scratch = limited();
    await outOfMemory(scratch);
    const watch = watchOomV1(scratch.path("memory"));
    const later = watchOomV1(scratch.path("memory"), { ignorePast: true });
    try {
      expect(await news(watch)).toBe("oom");
      expect(watch.read()).toBe("nothing");
      expect(await readable(later, 100)).toBe(false);
    } finally {
      watch.close();
      later.close();
    }
  });

  test("read late, after the removal: the OOM is told first", async () => {
    await using scratch = limited();
    const watch = watchOomV1(scratch.path("memory"));
    try {
      await outOfMemory(scratch);
      await scratch.remove();
      await sleep(500);
      expect(await news(watch)).toBe("oom");
      expect(watch.read()).toBe("removed");
      expect(watch.read()).toBe("removed");
    } finally {
      watch.close();
    }
  });

  test("read between the removal and the kernel's notice of it: the OOM is told all the same", async () => {
    // As often as it takes for one of the reads to come between the two.
    for (let round = 0; round < 10; round++) {
      await using scratch = limited();
      const watch = watchOomV1(scratch.path("memory"));
      try {
        await outOfMemory(scratch);
        await sleep(20);
        rmdirSync(scratch.path("memory"));
        const said: string[] = [];
        const isLate = (end: number) => performance.now() > (said.includes("oom") ? end : end + PATIENCE);
        for (const end = performance.now() + 200; !isLate(end); await sleep(1)) said.push(watch.read());
        expect(said.filter((each) => each === "oom")).toHaveLength(1);
      } finally {
        watch.close();
      }
    }
  });

  test("never tells of another cgroup that got the name", async () => {
    await using scratch = limited();
    const watch = watchOomV1(scratch.path("memory"));
    try {
      rmdirSync(scratch.path("memory"));
      mkdirSync(scratch.path("memory"));
      limit(scratch);
      await outOfMemory(scratch);
      expect(await news(watch)).toBe("removed");
      await outOfMemory(scratch);
      expect(watch.read()).toBe("removed");
    } finally {
      watch.close();
    }
  });

  test("a cgroup that is gone can't be watched", () => {
    expect(() => watchOomV1("/sys/fs/cgroup/memory/no-such-cgroup")).toThrow("ENOENT");
  });
});

/**
 * v1 has the memory controller on the machines of the tests, so no real memory.events: cgroup.events notifies in the same way, with a
 * number that grows when the first process enters.
 */
describe.skipIf(!hasHierarchies("unified"))("v2", () => {
  test("growth is told, other changes and the removal are not", async () => {
    await using scratch = new ScratchCgroup(["unified"]);
    const watch = new CounterWatch(`${scratch.path("unified")}/cgroup.events`, "populated", {});
    try {
      // Readable at first, for what may have happened before.
      expect(await next(watch)).toBe("nothing");
      expect(await readable(watch, 100)).toBe(false);
      for (let i = 0; i < 2; i++) {
        const entered = next(watch);
        const child = scratch.run("exec sleep 1000");
        expect(await entered).toBe("oom");
        const left = next(watch);
        child.kill();
        expect(await left).toBe("nothing");
      }
      await scratch.remove();
      expect(watch.read()).toBe("removed");
      mkdirSync(scratch.path("unified"));
      await scratch.runReady("exec sleep 1000");
      expect(watch.read()).toBe("removed");
    } finally {
      watch.close();
    }
  });

  test("what was there before the watch counts, unless the past is ignored", async () => {
    await using scratch = new ScratchCgroup(["unified"]);
    await scratch.runReady("exec sleep 1000");
    const watch = new CounterWatch(`${scratch.path("unified")}/cgroup.events`, "populated", {});
    const later = new CounterWatch(`${scratch.path("unified")}/cgroup.events`, "populated", { ignorePast: true });
    try {
      expect(await next(watch)).toBe("oom");
      expect(watch.read()).toBe("nothing");
      expect(await readable(watch, 100)).toBe(false);
      expect(await readable(later, 100)).toBe(false);
      expect(later.read()).toBe("nothing");
    } finally {
      watch.close();
      later.close();
    }
  });

  test("more watches than a user may have inotify instances", async () => {
    await using scratch = new ScratchCgroup(["unified"]);
    const watches: OomWatch[] = [];
    try {
      for (let i = 0; i < 300; i++) {
        watches.push(new CounterWatch(`${scratch.path("unified")}/cgroup.events`, "populated", {}));
      }
    } finally {
      for (const watch of watches) watch.close();
    }
  });

  test("without the memory controller there is nothing to watch", async () => {
    await using scratch = new ScratchCgroup(["unified"]);
    expect(() => watchOomV2(scratch.path("unified"))).toThrow("ENOENT");
  });
});
