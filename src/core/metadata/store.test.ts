import { randomBytes } from "node:crypto";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { makeFifo } from "../../system/linux/fifo.js";
import { checkLmdbFile } from "./lmdb-file.js";
import type { Migration } from "./migrations.js";
import { Store } from "./store.js";

let directory: string;
let file: string;
let opened: Store[];

beforeEach(() => {
  const dir = mkdtempSync(join(tmpdir(), "store-"));
  directory = join(dir, "metadata");
  file = join(directory, "meta.db");
  opened = [];
});
afterEach(async () => {
  await Promise.all(opened.map((store) => store.close()));
  rmSync(join(directory, ".."), { recursive: true, force: true });
});

function open() {
  const store = new Store(directory);
  opened.push(store);
  return { store, table: store.table<unknown>("things"), others: store.table<unknown>("others") };
}

async function close(): Promise<void> {
  await opened.pop()!.close();
}

/** Records of both kinds: within a page, and on pages of their own. */
async function fill(): Promise<void> {
  const { store, table, others } = open();
  for (let i = 0; i < 40; i++) {
    await store.write(() => {
      table.put(["ns", `a${i}`], { value: Buffer.alloc(20_000, i) });
      others.put(["ns", `b${i}`], `text ${i}`);
    });
  }
  await close();
}

test("pages go on after the last key, of one part as of several", async () => {
  const { store, table } = open();
  for (const keys of [
    [["one"], ["three"], ["two"]],
    [
      ["z", "a"],
      ["z", "b"],
    ],
  ]) {
    await store.write(() => {
      for (const key of keys) table.put(key, key.join());
    });
  }
  const all: (readonly string[])[] = [];
  await store.read(() => {
    for (let after: readonly string[] | undefined; ; ) {
      const [next] = table.page(after, 1);
      if (next === undefined || all.length > 10) return;
      all.push(next.key);
      after = next.key;
    }
  });
  expect(all).toEqual([["one"], ["three"], ["two"], ["z", "a"], ["z", "b"]]);
  expect(await store.read(() => table.keys(["one"]))).toEqual([["one"]]);
});

test("what is read is as it was written, in the order of its keys", async () => {
  await fill();
  const { store, table, others } = open();
  await store.read(() => {
    expect(table.get(["ns", "a7"])).toEqual({ value: Buffer.alloc(20_000, 7) });
    expect(others.list(["ns"])).toHaveLength(40);
    expect(others.keys(["ns"])).toEqual(Array.from({ length: 40 }, (_, i) => ["ns", `b${i}`]).sort());
    expect([table.has(["ns"]), table.has(["n"]), table.has(["nsx"])]).toEqual([true, false, false]);
  });
});

test("a change of several tables is made as a whole or not at all", async () => {
  const { store, table, others } = open();
  const change = store.write(() => {
    table.put(["a", "1"], 1);
    others.put(["a", "1"], 1);
    throw new Error("no");
  });
  await expect(change).rejects.toThrow("no");
  await store.read(() => expect([table.get(["a", "1"]), others.get(["a", "1"])]).toEqual([undefined, undefined]));
});

test("only the daemon's own user may look into it", async () => {
  mkdirSync(directory, { mode: 0o755, recursive: true });
  await open().store.read(() => {});
  expect(statSync(directory).mode & 0o777).toBe(0o700);
});

test("whatever was written and removed before, the file is found to be whole", async () => {
  const { store, table } = open();
  const key = () => ["ns", `k${Math.floor(Math.random() * 100)}${"x".repeat(Math.floor(Math.random() * 300))}`];
  for (let round = 0; round < 40; round++) {
    await store.write(() => {
      for (let i = 0; i < 30; i++) {
        table.put(key(), Buffer.alloc(Math.floor(Math.random() ** 4 * 60_000), i));
        const all = table.keys(["ns"]);
        if (Math.random() < 0.7) table.remove(all[Math.floor(Math.random() * all.length)]!);
        if (Math.random() < 0.01) for (const one of table.keys(["ns"])) table.remove(one);
      }
    });
    await checkLmdbFile(file);
  }
});

describe("a store of another version", () => {
  const keep = () => {};
  const double: Migration = (table) => {
    const things = table<number>("things");
    for (const key of things.keys([])) things.put(key, things.get(key)! * 2);
  };
  const openAt = (migrations?: readonly Migration[]) => {
    const store = new Store(directory, migrations);
    opened.push(store);
    return { store, things: store.table<number>("things") };
  };

  test("an earlier one is migrated, step by step, once", async () => {
    const { store, things } = openAt([]);
    await store.write(() => things.put(["ns", "a"], 3));
    await close();
    for (const migrations of [[keep], [keep, double, double], [keep, double, double]]) {
      const { store, things } = openAt(migrations);
      await store.read(() => expect(things.get(["ns", "a"])).toBe(migrations.length === 1 ? 3 : 12));
      await close();
    }
  });

  test("a migration that fails changes nothing", async () => {
    const { store, things } = openAt([]);
    await store.write(() => things.put(["ns", "a"], 3));
    await close();
    const fail = () => {
      throw new Error("can't");
    };
    await expect(openAt([double, fail]).store.read(keep)).rejects.toThrow("can't");
    await close();
    const { store: again, things: same } = openAt([]);
    await again.read(() => expect(same.get(["ns", "a"])).toBe(3));
  });

  test("a later one is refused, and stays as it is", async () => {
    const { store, things } = openAt([keep, keep]);
    await store.write(() => things.put(["ns", "a"], 3));
    await close();
    const before = readFileSync(file);
    const older = openAt([keep]);
    for (const call of [() => older.store.read(keep), () => older.store.write(keep)])
      await expect(call()).rejects.toMatchObject({
        kind: "failed-precondition",
        message: expect.stringContaining(
          "meta.db: of version 3, and this daemon knows none after 2: start the newer one",
        ),
      });
    expect(readFileSync(file).equals(before)).toBe(true);
    // Nor does it keep the newer one from it.
    const { store: newer, things: same } = openAt([keep, keep]);
    await newer.read(() => expect(same.get(["ns", "a"])).toBe(3));
  });
});

describe("a file that can't be used is an error, and stays as it is", () => {
  const damage: [string, () => void, string][] = [
    [
      "half of it",
      () => truncateSync(file, Math.floor(readFileSync(file).length / 2)),
      "a part of the file is missing",
    ],
    ["nothing of it", () => truncateSync(file, 0), "a part of the file is missing"],
    ["its beginning alone", () => truncateSync(file, 6000), "a part of the file is missing"],
    [
      "its last page cut off",
      () => truncateSync(file, readFileSync(file).length - 4096),
      "a part of the file is missing",
    ],
    ["zeros", () => overwrite((rest) => Buffer.alloc(rest)), "the file is damaged"],
    ["noise", () => overwrite((rest) => randomBytes(rest)), "the file is damaged"],
    ["another program's", () => writeFileSync(file, "[plugins]\n".repeat(2000)), "not a file of this daemon's"],
    ["SQLite's", () => writeFileSync(file, `SQLite format 3\0${"\0".repeat(8192)}`), "not a file of this daemon's"],
  ];

  /** All but the first two pages, which say what it is. */
  function overwrite(make: (rest: number) => Buffer): void {
    const whole = readFileSync(file);
    writeFileSync(file, Buffer.concat([whole.subarray(0, 8192), make(whole.length - 8192)]));
  }

  test.each(damage)("%s", async (_, spoil, words) => {
    await fill();
    spoil();
    const spoilt = readFileSync(file);
    const { store } = open();
    for (const call of [() => store.read(() => {}), () => store.write(() => {})]) {
      await expect(call()).rejects.toMatchObject({
        kind: "failed-precondition",
        message: expect.stringMatching(new RegExp(`${directory}.*meta\\.db: ${words}.*move it away`)),
      });
    }
    expect(readFileSync(file).equals(spoilt)).toBe(true);
    // Mended, it works without a new daemon.
    rmSync(file);
    await store.read(() => {});
  });

  test.each<[string, () => void]>([
    ["a directory", () => mkdirSync(file)],
    ["a FIFO", () => makeFifo(file)],
    ["a link", () => symlinkSync("/dev/zero", file)],
  ])("%s", async (_, make) => {
    mkdirSync(directory, { mode: 0o700, recursive: true });
    make();
    await expect(open().store.read(() => {})).rejects.toMatchObject({
      kind: "failed-precondition",
      message: expect.stringContaining("meta.db: not a file"),
    });
  });
});

test("what another user could have put there is not read", async () => {
  await fill();
  chownSync(directory, 12_345, 12_345);
  await expect(open().store.read(() => {})).rejects.toMatchObject({
    kind: "failed-precondition",
    message: expect.stringContaining("12345"),
  });
  chownSync(directory, 0, 0);
  chmodSync(directory, 0o777);
  await expect(open().store.read(() => {})).rejects.toMatchObject({
    kind: "failed-precondition",
    message: expect.stringContaining("chmod"),
  });
});

test("a file that another daemon has open is an error, and is there when that has ended", async () => {
  const first = open();
  await first.store.write(() => first.table.put(["a", "b"], 1));
  const second = open();
  await expect(second.store.read(() => {})).rejects.toMatchObject({
    kind: "failed-precondition",
    message: expect.stringContaining("another daemon"),
  });
  await opened.shift()!.close();
  await second.store.read(() => expect(second.table.get(["a", "b"])).toBe(1));
});

test("what a kill has left of a file that was just being made is nothing", async () => {
  mkdirSync(directory, { mode: 0o700, recursive: true });
  writeFileSync(join(directory, "new-meta.db"), "half");
  writeFileSync(`${file}-lock`, "rubbish");
  const { store, table } = open();
  await store.write(() => table.put(["a", "b"], 1));
  await store.read(() => expect(table.get(["a", "b"])).toBe(1));
});
