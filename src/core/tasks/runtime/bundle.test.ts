import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { stringifyJson } from "../../files/json.js";
import { readSpec, rootIds, translateOldSpec } from "./bundle.js";

let bundle: string;
beforeEach(() => {
  bundle = mkdtempSync(join(tmpdir(), "ctd-bundle-"));
});
afterEach(() => rmSync(bundle, { recursive: true }));
const write = (text: string) => writeFileSync(join(bundle, "config.json"), text);

describe("readSpec", () => {
  test("says which file is missing", async () => {
    await expect(readSpec(bundle)).rejects.toMatchObject({
      kind: "not-found",
      message: `open ${bundle}/config.json: no such file or directory`,
    });
    await expect(readSpec(`${bundle}/none`)).rejects.toMatchObject({ kind: "not-found" });
  });

  test("a bundle that is a file", async () => {
    write("{}");
    await expect(readSpec(`${bundle}/config.json`)).rejects.toMatchObject({
      kind: "not-found",
      message: `open ${bundle}/config.json/config.json: not a directory`,
    });
  });

  test("a config.json that is a directory", async () => {
    mkdirSync(join(bundle, "config.json"));
    await expect(readSpec(bundle)).rejects.toThrow(`${bundle}/config.json: is a directory`);
  });

  test.each([
    ['{\n  "process": {,\n}', 2, 15],
    ['{"process": ', 1, 13],
    ["", 1, 1],
    ["nonsense", 1, 1],
  ])("broken JSON %j: file and position", async (text, line, column) => {
    write(text);
    await expect(readSpec(bundle)).rejects.toMatchObject({
      kind: "invalid-argument",
      message: expect.stringContaining(`${bundle}/config.json:${line}:${column}: `),
    });
  });

  test.each(["[]", "null", "1"])("JSON that is no object: %s", async (text) => {
    write(text);
    await expect(readSpec(bundle)).rejects.toThrow(`${bundle}/config.json: not a JSON object`);
  });

  test("a spec without process", async () => {
    write("{}");
    await expect(readSpec(bundle)).rejects.toThrow(`${bundle}/config.json: no "process" object`);
  });

  test("numbers beyond 2^53 stay what they are", async () => {
    write('{"process":{"rlimits":[{"type":"RLIMIT_CORE","hard":18446744073709551615,"soft":1}],"x":1.5}}');
    const spec = await readSpec(bundle);
    expect(stringifyJson(spec)).toBe(
      '{"process":{"rlimits":[{"type":"RLIMIT_CORE","hard":18446744073709551615,"soft":1}],"x":1.5}}',
    );
  });
});

test("rootIds: the host's ids of the container's root", () => {
  expect(rootIds({})).toEqual({ uid: 0, gid: 0 });
  const map = (hostID: number) => [{ containerID: 0, hostID, size: 1 }];
  expect(rootIds({ linux: { uidMappings: map(1000), gidMappings: map(2000) } })).toEqual({ uid: 1000, gid: 2000 });
});

describe("translateOldSpec", () => {
  test("leaves today's form alone", () => {
    expect(translateOldSpec({ process: { capabilities: { effective: ["CAP_KILL"] } } }, "/b")).toBeUndefined();
    expect(translateOldSpec({ process: {} }, "/b")).toBeUndefined();
  });

  test("turns the capability list into sets and makes paths absolute", () => {
    const old = {
      process: { capabilities: ["CAP_KILL"] },
      root: { path: "rootfs" },
      mounts: [
        { type: "bind", source: "data" },
        { type: "proc", source: "proc" },
        { type: "none", source: "more", options: ["rbind"] },
      ],
    };
    const list = ["CAP_KILL"];
    expect(translateOldSpec(old, "/b")).toEqual({
      process: { capabilities: { bounding: list, effective: list, inheritable: list, permitted: list } },
      root: { path: "/b/rootfs" },
      mounts: [
        { type: "bind", source: "/b/data" },
        { type: "proc", source: "proc" },
        { type: "none", source: "/b/more", options: ["rbind"] },
      ],
    });
    expect(old.process.capabilities).toEqual(["CAP_KILL"]);
  });

  test("seccomp rules with one name get a list", () => {
    const old = { process: {}, linux: { seccomp: { syscalls: [{ name: "clone" }, { names: ["read"] }] } } };
    expect(translateOldSpec(old, "/b")?.linux?.seccomp?.syscalls).toEqual([{ names: ["clone"] }, { names: ["read"] }]);
  });
});
