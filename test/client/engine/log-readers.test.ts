/** Logs under load: floods, slow and many readers, times against what is in the files. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import type { Container, LogLine, LogsOptions } from "../../../src/client/index.js";
import { parseTimestamp } from "../../../src/client/timestamp.js";
import { removeAll, useClient } from "../../harness/client.js";
import { full } from "../../harness/extent.js";
import { eventually, within } from "../../harness/wait.js";

const here = useClient();

afterEach(async () => {
  await removeAll(here.client);
});

const start = (script: string, more = {}) =>
  here.client.containers.start({ rootfs: here.place().rootfs, args: ["sh", "-c", script], ...more });

function directoryOf(container: Container): string {
  return join(here.daemon.root, "engine/logs/default", container.id);
}

const filesOf = (container: Container) => readdirSync(directoryOf(container)).sort();

async function linesOf(container: Container, options: LogsOptions = {}): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  for await (const line of container.logs(options)) lines.push(line);
  return lines;
}

const upTo = (last: number) => Array.from({ length: last }, (_, index) => String(index + 1));

test.skipIf(!full)("a flood, rotated many times, is followed without a gap", async () => {
  const container = await start("seq 1 300000", { log: { maxSize: 1 << 20, maxFiles: 100 } });
  const lines = await linesOf(container, { follow: true });
  expect(lines.map(({ line }) => line)).toEqual(upTo(300_000));
  expect(filesOf(container).length).toBeGreaterThan(5);
});

test.skipIf(!full)("a reader that is too slow holds up nobody, and is told what it has missed", async () => {
  const log = { maxSize: 1 << 20, maxFiles: 2 };
  const container = await start("echo 1; read -r _; seq 2 1000000", { log, openStdin: true });
  const reading = container.logs({ follow: true });
  const first = await reading.next();
  expect(first.value).toMatchObject({ line: "1", missed: 0 });
  const attachment = await container.attach({ stdin: true });
  attachment.stdin.write("go\n");
  attachment.detach();
  expect((await container.wait()).status).toBe(0);
  let [last, missed, gaps] = [1, 0, 0];
  for await (const line of reading) {
    const number = Number(line.line);
    // What is missing is told with the line behind it.
    expect(number === last + 1).toBe(line.missed === 0);
    gaps += line.missed === 0 ? 0 : 1;
    missed += line.missed;
    last = number;
  }
  expect(last).toBe(1_000_000);
  expect(gaps).toBeGreaterThan(0);
  expect(missed).toBeGreaterThan(1 << 20);
});

test.skipIf(!full)(
  "two hundred that follow cost nothing while nothing happens, and all hear of what does",
  async () => {
    const container = await start("read -r line; echo $line", { openStdin: true });
    const heard: string[] = [];
    const following = Array.from({ length: 200 }, async () => {
      for await (const { line } of container.logs({ follow: true })) heard.push(line);
    });
    const cpu = () => {
      const fields = readFileSync(`/proc/${here.daemon.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
      return (Number(fields[11]) + Number(fields[12])) * 10;
    };
    // Once all are there: as much as nothing in a whole second, of 5 % that it may be.
    await eventually(
      async () => {
        const before = cpu();
        await new Promise((resolve) => setTimeout(resolve, 1000));
        return cpu() - before <= 50;
      },
      { what: "a second in which the daemon does next to nothing" },
    );
    const attachment = await container.attach({ stdin: true });
    attachment.stdin.end("hello\n");
    await within(Promise.all(following), "the end of all logs");
    expect(heard).toEqual(Array.from({ length: 200 }, () => "hello"));
  },
);

/** The lines as the files have them. */
function writtenIn(container: Container): { time: string; line: string; stream: string }[] {
  const whole = filesOf(container).map((name) => readFileSync(join(directoryOf(container), name), "latin1"));
  const begun: Record<string, { time: string; text: string } | undefined> = {};
  const lines: { time: string; line: string; stream: string }[] = [];
  for (const raw of whole.join("").split("\n").slice(0, -1)) {
    const [, time = "", stream = "", tag = "", text = ""] = /^(\S+) (\S+) (\S+) (.*)$/.exec(raw)!;
    const line = { time: begun[stream]?.time ?? time, text: `${begun[stream]?.text ?? ""}${text}` };
    begun[stream] = tag === "P" ? line : undefined;
    if (tag !== "P") lines.push({ time: line.time, line: line.text, stream });
  }
  return lines;
}

test.skipIf(!full)("since, until and tail, each with each, of lines of any length", async () => {
  const long = "{ head -c 50000 /dev/zero | tr '\\0' x; echo $n; }";
  const script = `n=0; while [ $n -lt 60 ]; do n=$((n+1)); echo $n; echo e$n >&2; [ $((n % 10)) = 0 ] && ${long}; usleep 5000; done`;
  const container = await start(`${script}; true`, { log: { maxSize: 1 << 17, maxFiles: 10 } });
  await container.wait();
  const all = writtenIn(container);
  expect(all.length).toBe(126);
  const times = [undefined, ...[0, 31, 77, 125].map((index) => all[index]!.time)];
  for (const since of times)
    for (const until of times)
      for (const tail of [undefined, 0, 1, 2, 15, 1000]) {
        const within = all.filter(({ time }) => (until ?? "~") >= time);
        const last = tail === undefined ? within : within.slice(within.length - Math.min(tail, within.length));
        const wanted = last.filter(({ time }) => (since ?? "") <= time);
        const options = { since: since && parseTimestamp(since), until: until && parseTimestamp(until), tail };
        const found = await linesOf(container, options as LogsOptions);
        expect(
          found.map(({ line }) => line),
          JSON.stringify([since, until, tail]),
        ).toEqual(wanted.map(({ line }) => line));
      }
});

test.skipIf(!full)("ten that write at once: each line is whole, and there once", async () => {
  const writer = "for n in $(seq 1 2000); do echo $w $n; done";
  const script = `for w in 0 1 2 3 4 5 6 7 8 9; do (${writer}) & done; wait`;
  const container = await start(script, { log: { maxSize: 1 << 30 } });
  const lines = (await linesOf(container, { follow: true })).map(({ line }) => line);
  const wanted = upTo(10).flatMap((w) => upTo(2000).map((n) => `${Number(w) - 1} ${n}`));
  expect(lines.sort()).toEqual(wanted.sort());
});

test.skipIf(!full)("a gigabyte without a newline fills neither the disk nor anybody's memory", async () => {
  const container = await start("head -c 1073741824 /dev/zero");
  let largest = 0;
  for await (const { line } of container.logs({ follow: true, encoding: "buffer" }))
    largest = Math.max(largest, line.length);
  expect((await container.wait()).status).toBe(0);
  expect(largest).toBeLessThan(5 << 20);
  const sizes = filesOf(container).map((name) => statSync(join(directoryOf(container), name)).size);
  expect(sizes.reduce((sum, size) => sum + size)).toBeLessThanOrEqual(20 << 20);
});
