/** Blobs in Debian's `ctr` 1.6. */
import { randomBytes } from "node:crypto";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { useContainerd1 } from "../harness/containerd1.js";
import { digestOf } from "../harness/test-images.js";
import { eventually } from "../harness/wait.js";
import { ctr1, rows, runCtr1, startCtr1, withoutCtr1 } from "./ctr1.js";

const fixture = useContainerd1();

describe.skipIf(withoutCtr1)("Debian's ctr: content", () => {
  const ctr = (...args: string[]) => ctr1(fixture.daemon, ...args);
  const run = (args: string[], input: string | Buffer = "") => runCtr1(fixture.daemon, ["content", ...args], input);
  const listed = async () => (await ctr("content", "ls", "-q")).split("\n").filter((line) => line !== "");

  afterEach(async () => {
    for (const digest of await listed()) await ctr("content", "rm", digest);
  });
  afterAll(() => fixture.daemon.expectNothingLeft());

  test("ingest, ls, get, label, rm", async () => {
    const data = randomBytes(3_000_000);
    const digest = digestOf(data);
    const expected = ["--expected-digest", digest, "--expected-size", `${data.length}`];
    expect(await run(["ingest", ...expected, "a-ref"], data)).toEqual({ status: 0, stdout: "", stderr: "" });
    expect(await listed()).toEqual([digest]);
    expect(rows(await ctr("content", "ls"))[0]!.slice(0, 2)).toEqual([digest, "3MB"]);
    const { stdout, status } = await startCtr1(fixture.daemon, "content", "get", digest).result;
    expect([status, digestOf(stdout)]).toEqual([0, digest]);
    expect(await ctr("content", "label", digest, "a=b", "c=d")).toMatch(/^(a=b,c=d|c=d,a=b)\n$/);
    expect(await ctr("content", "label", digest, "a=")).toBe("c=d\n");
    expect(rows(await ctr("content", "ls"))[0]!.at(-1)).toBe("c=d");
    expect(await ctr("content", "ls", "-q", "labels.c==d")).toBe(`${digest}\n`);
    expect(await ctr("content", "ls", "-q", "labels.c==e")).toBe("");
    // What is there is not written again.
    expect(await run(["ingest", ...expected, "another-ref"], data)).toMatchObject({ status: 0 });
    expect(await ctr("content", "rm", digest)).toBe(`${digest}\n`);
    expect(await listed()).toEqual([]);
    expect(await run(["get", digest])).toEqual({
      status: 1,
      stdout: "",
      stderr: `ctr: content digest ${digest}: not found\n`,
    });
    expect(await run(["rm", digest])).toMatchObject({ status: 0, stdout: "" });
  });

  test("without a digest it has its own", async () => {
    // Nothing keeps what ctr has put there: a collection of containerd's that was due may take it along.
    await eventually(async () => {
      expect(await run(["ingest", "a-ref"], "some text")).toMatchObject({ status: 0 });
      expect(await listed()).toEqual([digestOf("some text")]);
      return true;
    });
  });

  test("another digest or size than was told: refused, both named, and the ingest stays for another try", async () => {
    const [is, told] = [digestOf("some text"), digestOf("another text")];
    const wrong = await run(["ingest", "--expected-digest", told, "wrong"], "some text");
    expect(wrong).toMatchObject({ status: 1, stdout: "" });
    for (const part of ["wrong", is, told, "failed precondition"]) expect(wrong.stderr).toContain(part);
    expect(await run(["ingest", "--expected-size", "5", "--expected-digest", is, "size"], "some text")).toMatchObject({
      status: 1,
    });
    expect(await listed()).toEqual([]);
    const active = rows(await ctr("content", "active")).map(([ref]) => ref);
    expect(active).toContain("wrong");
  });

  test("active: what is just written, with its size; gone when it is committed", async () => {
    const ingest = startCtr1(fixture.daemon, "content", "ingest", "slow");
    const row = async () => rows(await ctr("content", "active")).find(([ref]) => ref === "slow");
    ingest.child.stdin!.write(randomBytes(1_000_000));
    await eventually(row, { interval: 100 });
    ingest.child.stdin!.end(randomBytes(1_000_000));
    expect(await ingest.result).toMatchObject({ status: 0 });
    expect(await row()).toBeUndefined();
  });
});
