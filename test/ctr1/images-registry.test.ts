/** Debian's `ctr` 1.6 and registries: it fetches itself and puts all it gets into the daemon. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Authority } from "../harness/certificates.js";
import { useContainerd1 } from "../harness/containerd1.js";
import { hasRegistry, startRegistry, type TestRegistry, USER, useRegistry } from "../harness/registry.js";
import {
  base,
  digestOf,
  file,
  ImageLayout,
  makeTestImage,
  type StandardImage,
  type TestImage,
} from "../harness/test-images.js";
import { ctr1, removeImages, rows, runCtr1, withoutCtr1 } from "./ctr1.js";

const fixture = useContainerd1();
const plain = useRegistry();

describe.skipIf(withoutCtr1 !== undefined || !hasRegistry)("Debian's ctr: registries", () => {
  const ctr = (...args: string[]) => ctr1(fixture.daemon, ...args);
  const run = (...args: string[]) => runCtr1(fixture.daemon, args);
  const path = (name: string) => join(fixture.daemon.dir, name);
  const named = (registry: TestRegistry, name: string) => `${registry.host}/test/${name}`;
  const listed = async (name: string) => rows(await ctr("images", "ls")).find(([first]) => first === name);
  let edges: StandardImage;
  let arm: TestImage;
  let multi: { digest: string };

  beforeAll(async () => {
    edges = await makeTestImage(path("edges"), "edges");
    await plain.registry.push(edges.layout.dir, "test/edges:latest");
    const layout = new ImageLayout(path("multi"));
    const [lowest, ofArm] = [await layout.layer(base()), await layout.layer([file("arm", "arm")])];
    arm = layout.image({ layers: [lowest, ofArm], platform: { os: "linux", architecture: "arm", variant: "v7" } });
    multi = layout.index([layout.image({ layers: [lowest] }), arm]);
    layout.name({ mediaType: "application/vnd.oci.image.index.v1+json", size: 0, ...multi }, "registry.test/multi");
    await plain.registry.push(layout.dir, "test/multi:latest");
  });
  afterEach(() => removeImages(fixture.daemon));
  afterAll(() => fixture.daemon.expectNothingLeft());

  test("pull, a second pull, and a container of it", async () => {
    const name = named(plain.registry, "edges:latest");
    const pulled = await ctr("images", "pull", "--plain-http", name);
    for (const part of [`manifest-${edges.image.manifest.digest}`, "unpacking linux/amd64", "done"]) {
      expect(pulled).toContain(part);
    }
    expect(await listed(name)).toMatchObject({ 1: edges.image.manifest.mediaType, 2: edges.image.manifest.digest });
    expect(rows(await ctr("images", "check"))[0]!.at(-1)).toBe("true");
    expect(rows(await ctr("snapshots", "ls"))).toHaveLength(3);
    // The host without its port.
    expect(await ctr("content", "ls")).toContain("containerd.io/distribution.source.127.0.0.1=test/edges");
    await ctr("images", "pull", "--plain-http", name);
    const words = ["run", "--rm", name, fixture.daemon.id("pulled"), "cat", "/data/1/new.txt"];
    expect(await runCtr1(fixture.daemon, words)).toMatchObject({ status: 0, stdout: "new" });
  });

  test("pull --print-chainid --label", async () => {
    const name = named(plain.registry, "edges:latest");
    const flags = ["--plain-http", "--print-chainid", "--label", "a=b"];
    expect(await ctr("images", "pull", ...flags, name)).toContain(`image chain ID: ${edges.image.chainIds.at(-1)}`);
    expect((await listed(name))!.at(-1)).toBe("a=b");
  });

  test("pull --platform, of what an index has and has not", async () => {
    const name = named(plain.registry, "multi:latest");
    await ctr("images", "pull", "--plain-http", "--platform", "linux/arm/v7", name);
    expect(await listed(name)).toMatchObject({ 2: multi.digest });
    expect(rows(await ctr("snapshots", "ls")).map(([key]) => key)).toContain(arm.chainIds.at(-1));
    expect((await listed(name))!.slice(5, 6)).toEqual([expect.stringContaining("linux/arm/v7")]);
    const missing = await run("images", "pull", "--plain-http", "--platform", "linux/s390x", name);
    expect(missing).toMatchObject({ status: 1, stderr: expect.stringContaining("no match for platform") });
  });

  test("pull of a tag, a repository and a registry that are not there", async () => {
    for (const name of [named(plain.registry, "edges:nope"), named(plain.registry, "nope:1")]) {
      const result = await run("images", "pull", "--plain-http", name);
      expect(result, name).toMatchObject({ status: 1, stderr: expect.stringContaining(`${name}: not found`) });
    }
    expect((await run("images", "pull", "--plain-http", "127.0.0.1:1/test/x:1")).status).toBe(1);
    expect(await ctr("images", "ls", "-q")).toBe("");
  });

  test("push: an imported image, under another name, and pulled again", async () => {
    await edges.layout.archive(path("edges.tar"));
    await ctr("images", "import", path("edges.tar"));
    const name = named(plain.registry, "pushed:1");
    await ctr("images", "tag", edges.name, name);
    expect(await ctr("images", "push", "--plain-http", name)).toContain("done");
    const second = named(plain.registry, "second:1");
    await ctr("images", "push", "--plain-http", second, edges.name);
    await removeImages(fixture.daemon);
    for (const pushed of [name, second]) {
      await ctr("images", "pull", "--plain-http", pushed);
      expect(await listed(pushed)).toMatchObject({ 2: edges.image.manifest.digest });
    }
    expect(await run("images", "push", "--plain-http", named(plain.registry, "none:1"))).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("not found"),
    });
  });

  test("content fetch, fetch-object, push-object", async () => {
    const name = named(plain.registry, "multi:latest");
    await ctr("content", "fetch", "--plain-http", "--all-platforms", name);
    expect(await listed(name)).toMatchObject({ 2: multi.digest });
    expect(rows(await ctr("snapshots", "ls"))).toEqual([]);
    expect((await ctr("content", "ls", "-q")).trimEnd().split("\n")).toHaveLength(7);
    const object = await ctr("content", "fetch-object", "--plain-http", named(plain.registry, "edges:latest"));
    expect(digestOf(object)).toBe(edges.image.manifest.digest);
    const layer = arm.layers[1]!.descriptor;
    const target = named(plain.registry, "objects");
    const words = ["content", "push-object", "--plain-http", target, layer.digest, layer.mediaType];
    expect(await ctr(...words)).toContain(layer.digest);
    const there = await plain.registry.request("GET", `/v2/test/objects/blobs/${layer.digest}`);
    expect(there.status).toBe(200);
  });

  test("TLS, with its authority, without, and unverified; a user and a password", async () => {
    mkdirSync(path("certificates"), { recursive: true });
    const authority = new Authority(path("certificates"), "registry");
    const { cert, key } = authority.issue("registry");
    await using registry = await startRegistry({ tls: { cert, key, ca: authority.ca }, htpasswd: true });
    await registry.push(edges.layout.dir, "test/edges:latest");
    const name = named(registry, "edges:latest");
    const user = ["--user", `${USER.username}:${USER.password}`];
    // On 127.0.0.1 it takes plain HTTP, unless a file says something else.
    const hosts = (directory: string, ...lines: string[]) => {
      mkdirSync(path(`${directory}/${registry.host}`), { recursive: true });
      const content = [`server = "${registry.url}"`, `[host."${registry.url}"]`, ...lines, ""].join("\n");
      writeFileSync(path(`${directory}/${registry.host}/hosts.toml`), content);
      return ["--hosts-dir", path(directory)];
    };
    const verified = hosts("verified", `ca = "${authority.ca}"`);
    await ctr("images", "pull", ...verified, ...user, name);
    expect(await listed(name)).toMatchObject({ 2: edges.image.manifest.digest });
    const pushed = named(registry, "pushed:1");
    await ctr("images", "push", ...verified, ...user, pushed, name);
    await removeImages(fixture.daemon);
    await ctr("images", "pull", ...hosts("unverified", "skip_verify = true"), ...user, pushed);
    await removeImages(fixture.daemon);
    const unknown = await run("images", "pull", ...hosts("unknown"), ...user, name);
    expect(unknown).toMatchObject({ status: 1, stderr: expect.stringContaining("x509") });
    const wrong = await run("images", "pull", ...verified, "--user", "tester:wrong", name);
    expect(wrong).toMatchObject({ status: 1, stderr: expect.stringMatching(/401|authoriz/i) });
    expect(await ctr("images", "ls", "-q")).toBe("");
  });
});
