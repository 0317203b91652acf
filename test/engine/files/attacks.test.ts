/** Archives, and containers, that want to get out of the root file system. */
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { times } from "../../harness/extent.js";
import {
  archive,
  CHARACTER,
  DIRECTORY,
  END,
  type Entry,
  entryBytes,
  HARDLINK,
  SYMLINK,
} from "../../images/layers/archive.js";
import { workshop } from "../../images/layers/layers.js";
import { treeOf } from "../../images/layers/tree.js";
import { failureOf, files, get, put, rootAt } from "./file-workshop.js";

const shop = workshop();
const NEVER = new AbortController().signal;
const data = Buffer.from("attack");
const SECRET = "what is outside of the root";

/** A root with something of somebody else's beside it. */
function prison() {
  const outside = shop.make("outside");
  writeFileSync(join(outside, "secret"), SECRET);
  const directory = join(outside, "root");
  mkdirSync(directory);
  const isUntouched = () => {
    expect(readdirSync(outside).sort()).toEqual(["root", "secret"]);
    expect(readFileSync(join(outside, "secret"), "utf8")).toBe(SECRET);
    expect(treeOf(outside).secret).toMatchObject({ owner: "0:0", mode: "644" });
  };
  return { outside, directory, root: rootAt(directory), isUntouched };
}

describe("an archive that is put into a container", () => {
  it("is refused when a name or a hard link leads out of where it goes, and quotes which", async () => {
    const { root, directory, isUntouched } = prison();
    for (const entry of [
      { name: "../secret", data },
      { name: "a/../../secret", data },
      { name: "/../../secret", data },
      { name: "..", type: DIRECTORY },
      { name: "out", type: HARDLINK, target: "../secret" },
      { name: "out", type: HARDLINK, target: "a/../../secret" },
    ] as Entry[]) {
      const error = await failureOf(put(root, "/", archive([entry])));
      expect(error).toMatchObject({ kind: "invalid-argument", what: "bad-archive" });
      expect(error.message).toContain(JSON.stringify(entry.name));
    }
    expect(readdirSync(directory)).toEqual([]);
    isUntouched();
  });

  it("leads nowhere else by links: those of the archive, and those that were there", async () => {
    const { root, directory, outside, isUntouched } = prison();
    symlinkSync(outside, join(directory, "absolute"));
    symlinkSync("../../../..", join(directory, "up"));
    symlinkSync("/", join(directory, "top"));
    await put(
      root,
      "/up",
      archive([
        { name: "own", type: SYMLINK, target: "../.." },
        { name: "own/by-link", data },
        { name: "top/in-top", data },
      ]),
    );
    // What it leads to within the root is not there, and a link is no directory to be made.
    const error = await failureOf(put(root, "/absolute", archive([{ name: "secret", data }])));
    expect(error.message).toContain("absolute");
    await failureOf(put(root, "/", archive([{ name: "absolute/secret", data }])));
    await put(root, "/", archive([{ name: "h", type: HARDLINK, target: "up/in-top" }]));
    expect(readdirSync(directory).sort()).toEqual(["absolute", "by-link", "h", "in-top", "own", "top", "up"]);
    for (const path of ["/absolute/secret", "/up/secret", "/../secret", "/own/../../secret"])
      expect(await failureOf(get(root, path)), path).toMatchObject({ kind: "not-found" });
    expect((await files.stat(root, "/up", NEVER)).linkTarget).toBe("../../../..");
    isUntouched();
  });

  it("has limits that are told: long names, deep directories, headers, owners, devices that overlayfs would take for its own", async () => {
    const { root, directory } = prison();
    const deep = Array.from({ length: 1100 }, () => "d").join("/");
    for (const [entry, words] of [
      [{ name: "n".repeat(300), data }, "name too long"],
      [{ name: `${"x/".repeat(2100)}y`, data }, /name too long|directories in each other/],
      [{ name: `${deep}/f`, data }, "directories in each other"],
      [{ name: "pax", data, records: [["comment", "x".repeat(2 << 20)]] }, "extended header"],
      [{ name: "null", type: CHARACTER, device: [0, 0] }, "character device 0:0"],
      [{ name: "zero", type: SYMLINK, target: "" }, "link to nothing"],
      [{ name: "owner", records: [["uid", "4294967295"]] }, "owner"],
    ] as [Entry, string | RegExp][]) {
      const error = await failureOf(put(root, "/", archive([entry])));
      expect(error.message).toMatch(words);
      expect(error.message.length).toBeLessThan(8000);
      expect(error).toMatchObject({ kind: "invalid-argument" });
    }
    expect(readdirSync(directory).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it("may have very many entries, and costs no more memory for that", { timeout: 600_000 }, async () => {
    const { directory, root } = prison();
    const count = times(1_000_000, 50_000);
    const before = process.memoryUsage.rss();
    const one = entryBytes({ name: "same", type: SYMLINK, target: "x" });
    const many = Buffer.concat(Array.from({ length: 1000 }, () => one));
    const endless = async function* () {
      for (let i = 0; i < count; i += 1000) yield many;
      yield END;
    };
    await files.put(root, "/", endless(), { keepKinds: false, keepOwners: true }, NEVER);
    expect(readdirSync(directory)).toEqual(["same"]);
    expect(process.memoryUsage.rss() - before).toBeLessThan(200 << 20);
  });
});

it("a container that swaps directories for links while files come in gets nothing outside of its root written, or read", {
  timeout: 600_000,
}, async () => {
  const { root, outside, directory, isUntouched } = prison();
  mkdirSync(join(directory, "swapped"));
  mkdirSync(join(directory, "elsewhere"));
  // As fast as it can, as a process in the container would: a directory, a link out, and back.
  const script = `
    use Fcntl;
    symlink("${outside}", "link"); symlink("../../../../../..$ARGV[0]", "link2");
    while (1) {
      rename("swapped", "kept"); rename("link", "swapped");
      rename("swapped", "link"); rename("link2", "swapped");
      rename("swapped", "link2"); rename("kept", "swapped");
      rename("swapped/inner", "elsewhere/inner"); symlink("${outside}", "swapped/inner");
      unlink("swapped/inner"); rename("elsewhere/inner", "swapped/inner");
    }`;
  const swapper = spawn("perl", ["-e", script, outside], { cwd: directory, stdio: "ignore" });
  try {
    const entries: Entry[] = [];
    for (let i = 0; i < 50; i++) {
      entries.push({ name: `swapped/inner/secret`, data, mode: 0o4777, uid: 5 });
      entries.push({ name: `swapped/secret`, data, mode: 0o4777, uid: 5 });
      entries.push({ name: "swapped/inner/", type: DIRECTORY, mode: 0o777, uid: 5 });
      entries.push({ name: "swapped/new", type: SYMLINK, target: "x", uid: 5 });
      entries.push({ name: "swapped/hard", type: HARDLINK, target: "swapped/inner/secret" });
    }
    const bytes = archive(entries);
    let whole = 0;
    let told = 0;
    for (let round = 0; round < times(400, 60); round++) {
      await put(root, "/", bytes).then(
        () => whole++,
        () => told++,
      );
      for (const path of ["/swapped", "/swapped/inner", "/swapped/secret"]) {
        const read = await get(root, path).catch(() => Buffer.alloc(0));
        expect(read.includes(SECRET)).toBe(false);
      }
    }
    expect(whole + told).toBe(times(400, 60));
    isUntouched();
  } finally {
    swapper.kill("SIGKILL");
  }
});
