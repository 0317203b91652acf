import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { onForeignFiles } from "../../src/core/files/foreign-files.js";
import { full } from "../harness/extent.js";

test.skipIf(!full)(
  "many on one path are not late, as long as one after the other ends; those behind one that hangs are",
  async () => {
    // Together they take longer than one may.
    const many = Array.from({ length: 25 }, (_, index) =>
      onForeignFiles("/a", async () => {
        await delay(500);
        return index;
      }),
    );
    const hanging = new AbortController();
    const hung = onForeignFiles(
      "/b",
      () => new Promise((resolve) => hanging.signal.addEventListener("abort", resolve)),
    );
    const behind = onForeignFiles("/b", async () => "too soon");
    const late = Promise.allSettled([hung, behind]);
    expect(await Promise.all(many)).toEqual(many.map((_, index) => index));
    for (const one of await late) expect(String((one as PromiseRejectedResult).reason)).toContain("/b: no answer");
    hanging.abort();
    expect(await onForeignFiles("/b", async () => "again")).toBe("again");
  },
);
