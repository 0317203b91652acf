/** What containers print: read from their logs, followed, and attached to. */
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { afterEach, expect, test } from "vitest";
import type { Container, LogLine, LogsOptions } from "../../../src/client/index.js";
import { removeAll, useClient } from "../../harness/client.js";
import { eventually, within } from "../../harness/wait.js";

const here = useClient();

afterEach(async () => {
  await removeAll(here.client);
});

const start = (script: string, more = {}) =>
  here.client.containers.start({ rootfs: here.place().rootfs, args: ["sh", "-c", script], ...more });

async function linesOf(container: Container, options: LogsOptions = {}): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  for await (const line of container.logs(options)) lines.push(line);
  return lines;
}

const textsOf = async (container: Container, options: LogsOptions = {}) =>
  (await linesOf(container, options)).map(({ line }) => line);

test("lines of both streams; the last ones; from one on; and from the next start, too", async () => {
  const before = Date.now() - 1;
  const container = await start("echo one; echo two; echo oops >&2; printf 'no end'");
  await container.wait();
  const lines = await linesOf(container);
  const out = lines.filter(({ stream }) => stream === "stdout");
  expect(out.map(({ line, isWhole }) => [line, isWhole])).toEqual([
    ["one", true],
    ["two", true],
    ["no end", false],
  ]);
  expect(lines.filter(({ stream }) => stream === "stderr")).toMatchObject([{ line: "oops", missed: 0, dropped: 0 }]);
  for (const { time } of lines) expect(Number(time)).toBeGreaterThanOrEqual(before);
  const all = lines.map(({ line }) => line);
  expect(await textsOf(container, { tail: 2 })).toEqual(all.slice(-2));
  expect(await textsOf(container, { position: lines[1]!.position })).toEqual(all.slice(2));
  expect(await textsOf(container, { until: before })).toEqual([]);
  expect(await textsOf(container, { since: before, follow: true })).toEqual(all);
  await container.start();
  await container.wait();
  // Between the streams the order of another run may be another one.
  expect((await textsOf(container, { tail: 100 })).sort()).toEqual([...all, ...all].sort());
});

test("followed while it runs, across the end of the daemon, until it has stopped", async () => {
  const container = await start("n=0; while [ $n -lt 300 ]; do n=$((n+1)); echo $n; usleep 10000; done");
  const seen: string[] = [];
  const following = (async () => {
    for await (const { line } of container.logs({ follow: true })) seen.push(line);
  })();
  await eventually(() => seen.length > 20, { what: "lines" });
  await here.daemon.kill();
  await here.daemon.start();
  await within(following, "the end of the container's log");
  expect(seen).toEqual(Array.from({ length: 300 }, (_, index) => String(index + 1)));
});

test("attached: what comes, what was before, what is typed; several at once", async () => {
  const container = await start("echo ready; while read -r line; do echo got $line; done; echo over", {
    openStdin: true,
  });
  await eventually(async () => (await textsOf(container)).includes("ready"), { what: "the first line" });
  const late = await container.attach();
  const all = await container.attach({ logs: true, stdin: true });
  const other = await container.attach({ logs: true, stdin: true });
  other.stdin.write("from the other\n");
  await eventually(async () => (await textsOf(container)).includes("got from the other"), { what: "an answer" });
  other.detach();
  all.stdin.write("one\n");
  all.stdin.end("two\n");
  const printed = "got from the other\ngot one\ngot two\nover\n";
  expect(await Promise.all([text(all.stdout), text(all.stderr)])).toEqual([`ready\n${printed}`, ""]);
  expect(await text(late.stdout)).toBe(printed);
  expect((await container.wait()).status).toBe(0);
});

test("a terminal, byte for byte, and its size", async () => {
  const container = await start("printf '$ '; read -r _; stty size; printf end", { openStdin: true, tty: true });
  await using attachment = await container.attach({ logs: true, stdin: true });
  await once(attachment.stdout, "readable");
  await attachment.resize(97, 31);
  attachment.stdin.write("go\n");
  expect(await text(attachment.stdout)).toBe("$ go\r\n31 97\r\nend");
});

test("no log is an error; options that make no sense are, too", async () => {
  const none = await start("sleep 1000", { log: { driver: "none" } });
  await expect(linesOf(none)).rejects.toThrow('has no log: its log driver is "none"');
  await expect(none.attach()).rejects.toThrow("has no log");
  const closed = await start("sleep 1000");
  await expect(closed.attach({ stdin: true })).rejects.toThrow("without openStdin");
  expect(() => closed.logs({ tail: -1 })).toThrow(RangeError);
  expect(() => closed.logs({ tail: 1, position: 1 })).toThrow("tail and position");
  await expect(linesOf(closed, { position: 7 })).resolves.toEqual([]);
  const left = new AbortController();
  const following = linesOf(closed, { follow: true, signal: left.signal });
  left.abort(new Error("enough"));
  await expect(following).rejects.toThrow("enough");
});
