import { closeSync, constants, existsSync, openSync, readSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { createStdio, detachedStdin } from "./stdio.js";

/** What a shim does with an output FIFO: both ends, so that a client may leave and come back. */
function openBoth(path: string) {
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  return {
    writer,
    close: () => {
      closeSync(reader);
      closeSync(writer);
    },
  };
}

async function read(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test("output: no end before the first writer, all of it, then the end", async () => {
  using stdio = createStdio();
  let ended = false;
  const text = read(stdio.stdout).finally(() => {
    ended = true;
  });
  await sleep(20);
  const shim = openBoth(stdio.paths.stdout);
  writeSync(shim.writer, "hello\n");
  await sleep(20);
  expect(ended).toBe(false);
  writeSync(shim.writer, "there\n");
  shim.close();
  expect(String(await text)).toBe("hello\nthere\n");
});

test("finish ends outputs that no writer ever opened, after what is in them, and removes the folder", async () => {
  const stdio = createStdio();
  const shim = openBoth(stdio.paths.stdout);
  writeSync(shim.writer, "rest");
  shim.close();
  stdio.finish();
  expect(String(await read(stdio.stdout))).toBe("rest");
  expect(String(await read(stdio.stderr))).toBe("");
  expect(existsSync(stdio.paths.stdin)).toBe(false);
});

test("with a terminal there is no stderr", async () => {
  using stdio = createStdio({ terminal: true });
  expect(stdio.paths.stderr).toBe("");
  expect(String(await read(stdio.stderr))).toBe("");
});

test("a reader that does not read holds back the writer", async () => {
  using stdio = createStdio();
  const shim = openBoth(stdio.paths.stdout);
  const chunk = Buffer.alloc(64 * 1024);
  const fill = async () => {
    let written = 0;
    for (let idle = 0; idle < 5; ) {
      try {
        written += writeSync(shim.writer, chunk);
        idle = 0;
      } catch {
        idle++;
      }
      await sleep(5);
    }
    return written;
  };
  // Untouched: the FIFO alone. Then at most what one stream buffers more.
  expect(await fill()).toBe(64 * 1024);
  stdio.stdout.once("readable", () => {});
  expect(await fill()).toBeLessThanOrEqual(256 * 1024);
  shim.close();
});

test("stdin: written before there is a reader; its end waits until all has been handed over, then closeStdin", async () => {
  const steps: string[] = [];
  using stdio = createStdio({
    closeStdin: async () => {
      await sleep(5);
      steps.push("closeStdin");
    },
  });
  const data = Buffer.alloc(300 * 1024, "x");
  stdio.stdin.end(data, () => steps.push("finished"));
  await sleep(20);
  expect(steps).toEqual([]);
  const fd = openSync(stdio.paths.stdin, constants.O_RDONLY | constants.O_NONBLOCK);
  const buffer = Buffer.alloc(64 * 1024);
  let total = 0;
  for (let count = -1; count !== 0; ) {
    try {
      count = readSync(fd, buffer);
      total += count;
    } catch {
      await sleep(1);
    }
  }
  closeSync(fd);
  expect(total).toBe(data.length);
  await expect.poll(() => steps).toEqual(["closeStdin", "finished"]);
});

test("a process that ends without reading its stdin does not keep the writer", async () => {
  const stdio = createStdio();
  stdio.stdin.write(Buffer.alloc(1024 * 1024));
  const closed = new Promise((resolve) => stdio.stdin.once("close", resolve));
  stdio.finish();
  await closed;
  stdio.close();
});

test("a stdin for a process that nobody is attached to", () => {
  const stdin = detachedStdin();
  expect(existsSync(stdin.path)).toBe(true);
  stdin.remove();
  expect(existsSync(stdin.path)).toBe(false);
});

test("a folder that cannot be made is an error that names it", () => {
  expect(() => createStdio({ dir: "/nonexistent" })).toThrow("/nonexistent");
});
