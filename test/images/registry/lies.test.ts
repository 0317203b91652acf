/** What registries do that they should not: every pull ends well, or by an error that says what was wrong. */
import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Credentials } from "../../../src/core/registry/credentials.js";
import { parseReference } from "../../../src/core/registry/reference.js";
import { Registry, type Repository } from "../../../src/core/registry/registry.js";
import { digestOf } from "../../harness/registry.js";
import { eventually, within } from "../../harness/wait.js";
import { makeImage } from "./image.js";
import { LyingRegistry } from "./lying-registry.js";
import { MemorySink } from "./sink.js";

const PASSWORD = "pass-word-of-a-test";
const credentials: Credentials = { kind: "password", username: "somebody", password: PASSWORD };
const image = makeImage(300_000);
const whole = image.blobs.get(image.layer.digest)!;
const wrong = randomBytes(whole.length);
const HALF = 150_000;
const signal = new AbortController().signal;

let liar: LyingRegistry;
let client: Registry;
let repository: Repository;
let retried: string[];
const onRetry = (failure: Error) => void retried.push(failure.message);
const transfer = { signal, onRetry };

beforeEach(async () => {
  retried = [];
  liar = await new LyingRegistry(image).start();
  client = new Registry({ environment: { HOME: "/nowhere" }, retryDelay: 1 });
  repository = await open();
});
afterEach(async () => {
  await client.close();
  await liar[Symbol.asyncDispose]();
});

const renewed = async (options: { stallTimeout: number }) => {
  await client.close();
  return new Registry({ environment: {}, retryDelay: 1, ...options });
};
const open = (name = "a/b:v1", host = liar.host) =>
  client.repository(parseReference(`${host}/${name}`), { credentials: async () => credentials, plainHttp: true });
const download = async (sink = new MemorySink()) => {
  await repository.download(image.layer, sink, transfer);
  expect(sink.data.equals(whole)).toBe(true);
  return sink;
};
const failure = async (promise: Promise<unknown>) => {
  const error = await promise.then(
    () => expect.unreachable("it has not failed"),
    (error: Error & { kind: string }) => error,
  );
  expect(error.message).not.toContain(PASSWORD);
  return `${error.kind}: ${error.message}`;
};
/** The beginning of the layer, and then whatever `end` does to the connection. */
const begin = (response: ServerResponse, end: () => void, bytes = whole.subarray(0, HALF)) => {
  response.writeHead(200, { "content-length": whole.length });
  response.write(bytes, () => setImmediate(end));
};

describe("manifests", () => {
  test("of another digest: fetched once more, then an error that names both", async () => {
    const other = Buffer.from(image.manifestBytes.toString().replace("schemaVersion", "schemaversion"));
    liar.lies.manifests = (_, response) => void response.writeHead(200).end(other);
    expect(await failure(repository.manifest(image.manifest, transfer))).toBe(
      `failed-precondition: ${liar.url}/v2/a/b/manifests/${image.manifest.digest}: ` +
        `what came is ${digestOf(other)}, not ${image.manifest.digest}`,
    );
    expect(liar.asked("manifests")).toEqual(["GET", "GET"]);
  });

  test("of another digest, once", async () => {
    liar.lies.manifests = (_, response, count) => (count > 0 ? false : void response.writeHead(200).end("{}"));
    expect(await repository.manifest(image.manifest, transfer)).toEqual(image.manifestBytes);
  });

  test("longer than said, endless, larger than any should be", async () => {
    liar.lies.manifests = (_, response) => void response.writeHead(200).end(Buffer.alloc(5000));
    expect(await failure(repository.manifest(image.manifest, transfer))).toContain("5000 bytes instead of");
    const huge = Buffer.alloc(1 << 20, " ");
    liar.lies.manifests = ({ method }, response) => {
      // What is written to that goes nowhere.
      if (method === "HEAD") return void response.writeHead(405).end();
      const more = () => {
        while (!response.destroyed && response.write(huge));
      };
      response.writeHead(200).on("drain", more);
      more();
    };
    expect(await failure(repository.manifest(image.manifest, transfer))).toContain("longer than 4194304 bytes");
    expect(await failure(repository.resolve(transfer))).toContain("longer than 4194304 bytes");
    const large = { ...image.manifest, size: 5 << 20 };
    expect(await failure(repository.manifest(large, transfer))).toContain("a manifest of 5242880 bytes is refused");
  });

  test("a digest that the registry says is another for a name with one", async () => {
    const other = `sha256:${"0".repeat(64)}`;
    repository = await open(`a/b@${other}`);
    expect(await failure(repository.resolve(transfer))).toContain(
      `what came is ${image.manifest.digest}, not ${other}`,
    );
  });

  test("pages for people, JSON of no type, headers that are missing", async () => {
    liar.lies.manifests = (_, response) =>
      void response.writeHead(200, { "content-type": "text/html" }).end("<html>Log in to this network</html>");
    expect(await failure(repository.resolve(transfer))).toContain(
      "what came is no manifest and no index, but text/html",
    );
    liar.lies.manifests = ({ method }, response) =>
      void response
        .writeHead(method === "HEAD" ? 405 : 200, { "content-type": "application/json" })
        .end(image.manifestBytes);
    expect(await repository.resolve(transfer)).toEqual(image.manifest);
    liar.lies.manifests = (_, response) =>
      void response.writeHead(200, { "content-type": "application/json" }).end("{[");
    expect(await failure(repository.resolve(transfer))).toContain("no manifest");
  });
});

describe("blobs", () => {
  test("of another digest: fetched once more, then an error that names both, and nothing is left", async () => {
    liar.lies.blobs = (_, response) => void response.writeHead(200).end(wrong);
    const sink = new MemorySink();
    expect(await failure(repository.download(image.layer, sink, transfer))).toContain(
      `what came is ${digestOf(wrong)}, not ${image.layer.digest}`,
    );
    expect(liar.asked("blobs")).toEqual(["GET", "GET"]);
    expect(sink.offset).toBe(0);
  });

  test("of another digest, once", async () => {
    liar.lies.blobs = (_, response, count) => (count > 0 ? false : void response.writeHead(200).end(wrong));
    const sink = await download();
    expect(sink.truncated).toBe(1);
    expect(retried).toEqual([expect.stringContaining("not sha256:")]);
  });

  test.each([
    [
      "shorter, and says so",
      (response: ServerResponse) => response.writeHead(200, { "content-length": 10 }).end(whole.subarray(0, 10)),
      "10 bytes instead of 300000",
    ],
    [
      "longer, and says so",
      (response: ServerResponse) => response.writeHead(200, { "content-length": 300_001 }).end(Buffer.alloc(300_001)),
      "300001 bytes instead of 300000",
    ],
    [
      "longer, and does not say so",
      (response: ServerResponse) => response.writeHead(200).end(Buffer.alloc(300_001)),
      "more than 300000 bytes instead of 300000",
    ],
  ])("%s", async (_, lie, why) => {
    liar.lies.blobs = (_, response) => void lie(response);
    const sink = new MemorySink();
    expect(await failure(repository.download(image.layer, sink, transfer))).toContain(why);
    expect(sink.offset).toBe(0);
    expect(liar.asked("blobs")).toHaveLength(2);
  });

  test("endless", async () => {
    liar.lies.blobs = (_, response) => {
      const more = () => {
        while (!response.destroyed && response.write(wrong));
      };
      response.writeHead(200).on("drain", more);
      more();
    };
    expect(await failure(repository.download(image.layer, new MemorySink(), transfer))).toContain(
      "more than 300000 bytes",
    );
  });

  test.each([
    ["the connection breaks", (response: ServerResponse) => begin(response, () => response.destroy())],
    [
      "the connection is reset",
      (response: ServerResponse) => begin(response, () => response.socket!.resetAndDestroy()),
    ],
    ["nothing comes any more", (response: ServerResponse) => begin(response, () => {})],
    [
      "the answer ends, as if that was all",
      (response: ServerResponse) => void response.writeHead(200).end(whole.subarray(0, HALF)),
    ],
  ])("in the middle %s: it goes on there", async (_, lie) => {
    client = await renewed({ stallTimeout: 1000 });
    repository = await open();
    liar.lies.blobs = (_, response, count) => (count > 0 ? false : lie(response));
    let came = 0;
    const sink = new MemorySink();
    sink.onWrite = (data) => {
      came += data.length;
    };
    await download(sink);
    expect(came).toBe(whole.length);
    expect(sink.truncated).toBe(0);
    expect(liar.asked("blobs")).toEqual(["GET", expect.stringMatching(/^GET bytes=[1-9]\d*-$/)]);
    expect(retried).toHaveLength(1);
  });

  test("it breaks again and again: five times without progress are the end, and what came is kept", async () => {
    liar.lies.blobs = (_, response, count) =>
      count === 0 ? begin(response, () => response.destroy()) : void response.socket!.destroy();
    const sink = new MemorySink();
    expect(await failure(repository.download(image.layer, sink, transfer))).toMatch(/^unavailable: /);
    expect(liar.asked("blobs")).toHaveLength(5);
    expect(sink.data.equals(whole.subarray(0, HALF))).toBe(true);
    delete liar.lies.blobs;
    await download(sink);
  });

  test.each([
    ["500", { status: 500, headers: {} }],
    ["503 with Retry-After of seconds", { status: 503, headers: { "retry-after": "0" } }],
    ["429 with Retry-After of a date", { status: 429, headers: { "retry-after": new Date(0).toUTCString() } }],
    ["408", { status: 408, headers: {} }],
  ])("%s in the middle: it goes on", async (_, { status, headers }) => {
    liar.lies.blobs = (_, response, count) => {
      if (count === 0) return begin(response, () => response.destroy());
      return count > 2 ? false : void response.writeHead(status, headers).end("no");
    };
    await download();
    expect(liar.asked("blobs")).toHaveLength(4);
  });

  test("too many requests for ever, or for too long", async () => {
    const body = JSON.stringify({ errors: [{ code: "TOOMANYREQUESTS", message: "not you" }] });
    liar.lies.blobs = (_, response) => void response.writeHead(429, { "retry-after": "0" }).end(body);
    const said = await failure(repository.download(image.layer, new MemorySink(), transfer));
    expect(said).toMatch(/^resource-exhausted: .*429: TOOMANYREQUESTS: not you/);
    expect(liar.asked("blobs")).toHaveLength(5);
    // One that asks to wait for an hour is asked again after a minute at most; and a wait can be called off.
    const controller = new AbortController();
    const waits: number[] = [];
    liar.lies.blobs = (_, response) => void response.writeHead(429, { "retry-after": "3600" }).end();
    const waiting = repository.download(image.layer, new MemorySink(), {
      signal: controller.signal,
      onRetry: (_, delay) => {
        waits.push(delay);
        controller.abort(new Error("called off"));
      },
    });
    await expect(waiting).rejects.toThrow("called off");
    expect(waits).toEqual([60_000]);
  });

  test("Range is ignored: what is there is left out", async () => {
    liar.lies.blobs = (request, response) => {
      delete request.headers.range;
      liar.answerTruly(request, response);
    };
    const sink = await download(new MemorySink(whole.subarray(0, HALF)));
    expect(sink.truncated).toBe(0);
  });

  test("another part than was asked for: left out as far as it is there, else all of it is fetched anew", async () => {
    const answer = (first: number, range: string) => (_: unknown, response: ServerResponse, count: number) => {
      return count > 0 ? false : void response.writeHead(206, { "content-range": range }).end(whole.subarray(first));
    };
    liar.lies.blobs = answer(100_000, "bytes 100000-299999/300000");
    expect((await download(new MemorySink(whole.subarray(0, HALF)))).truncated).toBe(0);
    for (const range of ["bytes 200000-299999/300000", "bytes 0-9/10", "nonsense", `bytes ${"9".repeat(400)}-1/1`]) {
      await using other = await new LyingRegistry(image).start();
      other.lies.blobs = answer(200_000, range);
      const sink = new MemorySink(whole.subarray(0, HALF));
      await (await open("a/b", other.host)).download(image.layer, sink, transfer);
      expect(sink.data.equals(whole)).toBe(true);
      expect(sink.truncated).toBe(1);
    }
    await using refusing = await new LyingRegistry(image).start();
    refusing.lies.blobs = ({ headers }, response) => (headers.range ? void response.writeHead(416).end() : false);
    const sink = new MemorySink(whole.subarray(0, HALF));
    await (await open("a/b", refusing.host)).download(image.layer, sink, transfer);
    expect(sink.data.equals(whole)).toBe(true);
  });

  test("what cannot be written ends it at once, and is not the registry's fault", async () => {
    const sink = new MemorySink();
    sink.onWrite = () => Promise.reject(new Error("no space left"));
    await expect(repository.download(image.layer, sink, transfer)).rejects.toThrow("no space left");
    expect(liar.asked("blobs")).toHaveLength(1);
  });
});

describe("answers", () => {
  test("endless headers, no HTTP at all, huge JSON, JSON that is none", async () => {
    const answers: [lie: (response: ServerResponse) => void, why: string][] = [
      [
        ({ socket }) => {
          socket!.write("HTTP/1.1 200 OK\r\n");
          const more = () => {
            while (!socket!.destroyed && socket!.write(`x-${"a".repeat(1000)}: b\r\n`));
          };
          socket!.on("drain", more);
          more();
        },
        "the headers of the answer are too long",
      ],
      [({ socket }) => void socket!.end("220 mail.example ESMTP\r\n"), "the answer is no HTTP"],
      [
        (response) => void response.writeHead(400).end(JSON.stringify({ errors: "x".repeat(1e6) })),
        ": 400 Bad Request",
      ],
      [(response) => void response.writeHead(400).end('{"errors":[null,5,{"code":{}},{"message":"so"}]}'), ": 400: so"],
      [(response) => void response.writeHead(403).end(`\u001b[2J${PASSWORD}\n`), ": 403: \\u001b[2J<secret>"],
    ];
    for (const [lie, why] of answers) {
      await using other = await new LyingRegistry(image).start();
      // It has our password, since it asks for it.
      other.lies.all = ({ headers }, response) =>
        headers.authorization === undefined
          ? void response.writeHead(401, { "www-authenticate": "Basic realm=x" }).end()
          : lie(response);
      const opened = await open("a/b", other.host);
      expect(await failure(opened.download(image.layer, new MemorySink(), transfer))).toContain(why);
    }
  });

  test("a token server that lies", async () => {
    const answers: [status: number, body: string, why: string][] = [
      [200, "{}", "its answer has no token"],
      [200, "[", "its answer has no token"],
      [200, "null", "its answer has no token"],
      [200, '{"token":"a\\r\\nx-evil: b"}', "its answer has no token"],
      [200, `{"token":"${"x".repeat(300_000)}"}`, "longer than 262144 bytes"],
      [403, JSON.stringify({ details: `no, ${PASSWORD}` }), "403: no, <secret>"],
    ];
    for (const [status, body, why] of answers) {
      liar.lies.all = ({ url }, response) =>
        url!.startsWith("/token")
          ? void response.writeHead(status).end(body)
          : void response.writeHead(401, { "www-authenticate": `Bearer realm="${liar.url}/token"` }).end();
      expect(await failure((await open()).resolve(transfer))).toContain(why);
    }
  });

  test("401 for ever, whatever is shown to it: asked twice", async () => {
    for (const challenge of ["Basic realm=x", `Bearer realm="${liar.url}/token"`, "Negotiate", "", 'Bearer realm="']) {
      liar.seen.length = 0;
      liar.lies.all = ({ url }, response) =>
        url!.startsWith("/token")
          ? void response.end('{"token":"t"}')
          : void response.writeHead(401, { "www-authenticate": challenge }).end();
      expect(await failure((await open()).resolve(transfer))).toMatch(/^(unauthenticated|permission-denied): /);
      expect(liar.asked("manifests").length).toBeLessThanOrEqual(2);
    }
  });
});

describe("one byte at a time", () => {
  const drip = (response: ServerResponse, bytes: Buffer) => {
    let at = 0;
    const timer = setInterval(() => response.write(bytes.subarray(at, ++at)), 20);
    response.on("close", () => clearInterval(timer));
  };

  test("a manifest: it is not waited for for ever", async () => {
    client = await renewed({ stallTimeout: 200 });
    liar.lies.manifests = (_, response) => drip(response, image.manifestBytes);
    const opened = await open();
    expect(await failure(opened.manifest(image.manifest, transfer))).toContain("not all came in 800 ms");
  });

  test("a blob: it is fetched over another connection, and goes on there", async () => {
    client = await renewed({ stallTimeout: 200 });
    liar.lies.blobs = (_, response, count) => (count > 0 ? false : drip(response, whole));
    repository = await open();
    await download();
    expect(retried).toEqual([expect.stringMatching(/only \d+ bytes came in \d+ ms/)]);
    expect(liar.asked("blobs")).toEqual(["GET", expect.stringMatching(/^GET bytes=[1-9]/)]);
  });
});

test("a digest that is none never becomes a part of a URL", async () => {
  for (const digest of ["../../other/blobs/x", "sha256:abc", `${image.layer.digest}/..`, ""]) {
    const wrong = { ...image.layer, digest };
    expect(await failure(repository.download(wrong, new MemorySink(), transfer))).toMatch(
      /^invalid-argument: invalid digest/,
    );
  }
  expect(liar.seen).toEqual([]);
});

describe("redirects", () => {
  test("elsewhere: nothing that shows who we are goes there, and a challenge from there is not answered", async () => {
    await using other = await new LyingRegistry(image).start();
    liar.lies.all = ({ headers }, response) =>
      headers.authorization === undefined
        ? void response.writeHead(401, { "www-authenticate": "Basic realm=x" }).end()
        : false;
    liar.lies.blobs = ({ url }, response) =>
      void response.writeHead(307, { location: `http://user:pass@${other.host}${url}?signature=secret` }).end();
    await download();
    expect(other.seen).toHaveLength(1);
    expect(other.seen[0]!.headers.authorization).toBeUndefined();
    other.lies.all = (_, response) =>
      void response.writeHead(401, { "www-authenticate": "Basic realm=x" }).end("no signature=secret");
    const said = await failure(repository.download(image.layer, new MemorySink(), transfer));
    expect(said).toMatch(/^unauthenticated: /);
    expect(said).not.toContain("?");
    expect(other.seen.every(({ headers }) => headers.authorization === undefined)).toBe(true);
  });

  test("in circles, to no URL, to another protocol", async () => {
    for (const [location, why] of [
      ["/v2/a/b/blobs/again", "it has sent us on 5 times"],
      ["http://", "no URL"],
      ["ftp://x/y", "no URL"],
      ["file:///etc/shadow", "no URL"],
    ] as const) {
      liar.lies.blobs = (_, response) => void response.writeHead(302, { location }).end();
      expect(await failure(repository.download(image.layer, new MemorySink(), transfer))).toContain(why);
    }
    liar.lies.blobs = (_, response) => void response.writeHead(302).end();
    expect(await failure(repository.download(image.layer, new MemorySink(), transfer))).toContain("302");
  });
});

describe("connections", () => {
  test("a slow reader pauses the sender", async () => {
    client = await renewed({ stallTimeout: 1000 });
    const big = makeImage(64 << 20);
    const bytes = big.blobs.get(big.layer.digest)!;
    await using sender = await new LyingRegistry(big).start();
    let sent = 0;
    sender.lies.blobs = (_, response) => {
      const more = () => {
        while (sent < bytes.length) {
          const part = bytes.subarray(sent, sent + (1 << 16));
          sent += part.length;
          if (!response.write(part)) return;
        }
        response.end();
      };
      response.on("drain", more);
      more();
      return undefined;
    };
    const opened = await open("a/b", sender.host);
    const controller = new AbortController();
    let go = () => {};
    const halted = new Promise<void>((resolve) => {
      go = resolve;
    });
    const sink = new MemorySink();
    sink.onWrite = () => halted;
    const done = opened.download(big.layer, sink, { signal: controller.signal });
    // Until it stops: what the kernel holds is full then. It stands still for longer than a stall may last.
    let last = -1;
    await eventually(
      () => {
        const isStill = sent > 0 && sent === last;
        last = sent;
        return isStill;
      },
      { interval: 1500 },
    );
    expect(last).toBeLessThan(32 << 20);
    sink.onWrite = () => {};
    go();
    // It was our own pause: nothing is fetched anew.
    await done;
    expect(sender.asked("blobs")).toEqual(["GET"]);
    expect(sink.digest()).toBe(big.layer.digest);
  });

  test("a pull that is called off ends at once, whatever it waits for", async () => {
    const silent = (response: ServerResponse) => begin(response, () => {});
    client = await renewed({ stallTimeout: 600_000 });
    repository = await open();
    for (const lie of [silent, () => {}]) {
      let close = () => {};
      const closed = new Promise<void>((resolve) => {
        close = resolve;
      });
      liar.lies.blobs = (_, response) => {
        response.once("close", close);
        lie(response);
      };
      const controller = new AbortController();
      const before = liar.seen.length;
      const sink = new MemorySink();
      const done = repository.download(image.layer, sink, { signal: controller.signal });
      await eventually(() => liar.seen.length > before && (lie !== silent || sink.offset === HALF));
      controller.abort(new Error("called off"));
      await expect(done).rejects.toThrow("called off");
      await within(closed, "the end of the connection");
    }
  });

  test("at most 16 to one host, and none when nobody uses them", async () => {
    await Promise.all(Array.from({ length: 100 }, () => download()));
    expect(liar.mostSockets).toBeGreaterThan(1);
    expect(liar.mostSockets).toBeLessThanOrEqual(16);
    await eventually(() => liar.sockets.size === 0);
  });

  test("nobody is there: an error at once", async () => {
    const { host } = liar;
    await liar[Symbol.asyncDispose]();
    expect(await failure((await open("a/b", host)).resolve(transfer))).toMatch(/^unavailable: .*connection refused/i);
    expect(retried).toEqual([]);
  });
});
