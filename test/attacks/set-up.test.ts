/** The set-up is run by root, and writes into /tmp, where others can put links under names that they can foresee. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { findProgram, repository } from "../harness/paths.js";
import { directoryPrefix } from "../harness/run-name.js";

test("scripts/setup makes nothing in /tmp but directories that are its own, also when packages can't be had", () => {
  const dir = mkdtempSync(directoryPrefix());
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const temporary = join(dir, "tmp");
  const bin = join(dir, "bin");
  const seen = join(dir, "seen");
  mkdirSync(temporary);
  mkdirSync(bin);
  // All but what it would install.
  for (const name of ["bash", "cat", "dirname", "id", "ldd", "ls", "mktemp", "npm", "rm", "uname"])
    symlinkSync(findProgram(name)!, join(bin, name));
  // No machine fails at this when it shall: looks at /tmp, and fails.
  const script = `#!/bin/bash\necho "$1 $(cd ${temporary} && ls -o)" >>${seen}\nexit 1\n`;
  writeFileSync(join(bin, "apt-get"), script, { mode: 0o755 });
  const { status, stderr } = spawnSync("bash", [join(repository, "scripts/setup")], {
    env: { PATH: bin, TMPDIR: temporary },
    encoding: "utf8",
  });
  expect(status).toBe(1);
  expect(stderr).toContain("setup: apt-get could not install: luajit");
  const listings = readFileSync(seen, "utf8")
    .trim()
    .split(/^(?=install|update)/m);
  expect(listings.map((text) => text.split(" ")[0])).toEqual(["install", "update", "install"]);
  for (const listing of listings) expect(listing.match(/^[-dl][-rwxs]{9}/gm)).toEqual(["drwx------"]);
  expect(readdirSync(temporary)).toEqual([]);
});
