import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { mountNow, unmountNow } from "./kernel-mount.js";
import { mountsBelow } from "./mountinfo.js";

test("what is mounted below a directory, whatever its name has in it", async () => {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), "mount info\t\\-")));
  const targets = ["with space", "new\nline", "ü", "plain"].map((name) => join(dir, name));
  try {
    for (const target of targets) {
      mkdirSync(target);
      mountNow(`source ${target}`, target, "tmpfs", 0);
    }
    // One whose name begins like the other's.
    mkdirSync(`${dir}2/x`, { recursive: true });
    mountNow("other", `${dir}2/x`, "tmpfs", 0);
    expect(await mountsBelow(dir)).toEqual(
      targets.map((target) => ({ target, type: "tmpfs", source: `source ${target}` })),
    );
  } finally {
    for (const target of [...targets, `${dir}2/x`]) {
      try {
        unmountNow(target);
      } catch {
        // It was not mounted yet.
      }
    }
    for (const path of [dir, `${dir}2`]) rmSync(path, { recursive: true, force: true });
  }
});
