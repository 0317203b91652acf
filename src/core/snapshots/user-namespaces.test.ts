import { fstatSync } from "node:fs";
import { expect, test } from "vitest";
import type { IdMapping } from "./id-mapping.js";
import { UserNamespaces } from "./user-namespaces.js";

const from = (outside: number): IdMapping => {
  const ranges = [{ inside: 0, outside, length: 10 }];
  return { uids: ranges, gids: ranges };
};
const inodeOf = async (fd: number) => fstatSync(fd).ino;

test("who has the same ids gets the same one, also at the same time; others another", async () => {
  const namespaces = new UserNamespaces();
  const [first, second, other] = await Promise.all([
    namespaces.use(from(100_000), inodeOf),
    namespaces.use(from(100_000), inodeOf),
    namespaces.use(from(200_000), inodeOf),
  ]);
  expect(second).toBe(first);
  expect(other).not.toBe(first);
  expect(await namespaces.use(from(100_000), inodeOf)).toBe(first);
});

test("of more than are kept those go that nobody has used for longest, and none that is used", async () => {
  const namespaces = new UserNamespaces(1);
  const seen: { fd: number; inode: number }[] = [];
  const note = (fd: number) => seen.push({ fd, inode: fstatSync(fd).ino });
  await namespaces.use(from(100_000), async (fd) => {
    note(fd);
    await namespaces.use(from(200_000), async (other) => note(other));
    expect(fstatSync(fd).ino).toBe(seen[0]!.inode);
  });
  // Another file may have got the number.
  const inodesNow = seen.map(({ fd }) => inodeNow(fd));
  expect(seen.filter(({ inode }, n) => inode === inodesNow[n])).toHaveLength(1);
});

function inodeNow(fd: number): number | undefined {
  try {
    return fstatSync(fd).ino;
  } catch {
    return undefined;
  }
}

test("one that can't be made is told, and tried again", async () => {
  const namespaces = new UserNamespaces();
  const overlapping = { uids: [...from(1).uids, ...from(5).uids], gids: from(1).gids };
  for (let tries = 0; tries < 2; tries++)
    await expect(namespaces.use(overlapping, inodeOf)).rejects.toMatchObject({ kind: "failed-precondition" });
});
