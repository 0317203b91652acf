// A server that tests talk to, in a container, on a machine where no daemon is installed: the program brings its own.
// `node scripts/run-typescript.mjs examples/test-fixture.ts IMAGE [ARCHIVE]`; with an archive (of docker save, say) nothing is pulled.
import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type CreatedContainer, type Embedded, embedded } from "containerd-ts";

const [image = "busybox:1.36", archive] = process.argv.slice(2);

let directory: string;
let daemon: Embedded;
let server: CreatedContainer;
let url: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "fixture-"));
  daemon = await embedded({ root: join(directory, "root"), state: join(directory, "state") });
  const { client } = daemon;
  if (archive !== undefined) await client.images.import(createReadStream(archive));
  const port = await freePort();
  url = `http://127.0.0.1:${port}/`;
  server = await client.containers.create({
    image,
    args: ["httpd", "-f", "-p", `127.0.0.1:${port}`, "-h", "/srv"],
    network: "host",
    owned: true,
  });
  await server.putFiles("/srv", { "index.html": "hello from the fixture\n" });
  await server.start();
  await answers();
});

after(async () => {
  await server?.remove({ force: true });
  await daemon?.close();
  await rm(directory, { recursive: true, force: true });
});

test("the page is there", async () => {
  const response = await fetch(url);
  assert.equal(await response.text(), "hello from the fixture\n");
});

test("another one is not", async () => {
  assert.equal((await fetch(new URL("other", url))).status, 404);
});

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => probe.once("listening", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** Waits for the server, and no longer than it runs. */
async function answers(): Promise<void> {
  for (;;) {
    try {
      await (await fetch(url)).text();
      return;
    } catch (error) {
      if ((await server.state()) !== "running") throw error;
      await sleep(50);
    }
  }
}
