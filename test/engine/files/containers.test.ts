/** Files into and out of containers by the engine's service. */
import { Metadata } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { type Change, CreateRequest } from "../../../src/proto/containerdts/engine/v1/engine.js";
import type { Empty } from "../../../src/proto/google/protobuf/empty.js";
import { useContainerd1 } from "../../harness/containerd1.js";
import { importImage, NO_STDIO, newId, requestFor, runToEnd, texts } from "../../harness/engine.js";
import { full } from "../../harness/extent.js";
import { refusal } from "../../harness/v1.js";
import { eventually, sleep } from "../../harness/wait.js";
import { archive } from "../../images/layers/archive.js";

const fixture = useContainerd1({});

test("files go into a container that runs, and one that does not; they come out again", async () => {
  const { daemon } = fixture;
  const api = daemon.v1();
  await importImage(daemon);
  const id = newId(daemon);
  await api.engine.create(requestFor({ id, config: { writable: true, args: texts("sleep", "1000") } }));
  const client = api.engineStreams;
  const put = (path: string, data: Buffer, more: { keepOwners?: boolean } = {}) =>
    new Promise<Empty>((resolve, reject) => {
      const call = client.putFiles(new Metadata(), (error, answer) =>
        error === null ? resolve(answer) : reject(error),
      );
      call.write({ id, path, keepKinds: true, keepOwners: more.keepOwners ?? true, data: data.subarray(0, 600) });
      call.write({ id: "", path: "", keepKinds: false, keepOwners: false, data: data.subarray(600) });
      call.end();
    });
  const get = async (path: string) => {
    const pieces: Buffer[] = [];
    for await (const { data } of client.getFiles({ id, path, followLink: false })) pieces.push(data);
    return Buffer.concat(pieces);
  };
  const data = archive([{ name: "a/b", mode: 0o640, uid: 5, data: Buffer.from("content") }]);
  try {
    await put("/srv", data);
    expect(await api.engine.statFile({ id, path: "/srv/a/b" })).toMatchObject({ name: "b", size: 7n, uid: 5 });
    await api.engine.start({ id, stdio: NO_STDIO });
    expect((await get("/srv")).includes("content")).toBe(true);
    await put("/tmp/new", data);
    expect((await get("/tmp/new/a/b")).includes("content")).toBe(true);
    const changes: string[] = [];
    for await (const message of client.diff({ id }))
      changes.push(...message.changes.map(({ path, kind }: Change) => `${kind} ${path}`));
    expect(changes).toEqual(expect.arrayContaining(["1 /srv", "1 /srv/a", "1 /srv/a/b", "1 /tmp/new/a/b"]));
    const ref = "docker.io/library/made:latest";
    await expect(api.engine.commit({ id, ref, changes: ["RUN x"] })).rejects.toMatchObject({
      details: expect.stringContaining("RUN x"),
    });
    const { digest } = await api.engine.commit({ id, ref, changes: ['CMD ["cat", "/srv/a/b"]'] });
    expect(digest).toMatch(/^sha256:/);
    expect(await api.engine.get({ id })).toMatchObject({ status: "running" });
    expect(await runToEnd(daemon, ["cat", "/srv/a/b"], { image: ref })).toMatchObject({ stdout: "content" });
    await expect(put("/srv/a/b", data)).rejects.toMatchObject({ details: expect.stringContaining("/srv/a/b") });
    await expect(get("/nowhere")).rejects.toMatchObject({ details: expect.stringContaining("no such file") });
  } finally {
    await api.engine.remove({ id, force: true });
  }
});

test.skipIf(!full)(
  "what is paused while its layer is read stays so for all who read it, and for its user",
  async () => {
    const { daemon } = fixture;
    const { engine } = daemon.v1();
    const id = newId(daemon);
    const forked = newId(daemon);
    const script = "head -c 8000000 /dev/urandom > /data; echo done > /ready; sleep 100000";
    await engine.run({
      create: requestFor({ id, config: { writable: true, args: texts("sh", "-c", script) } }),
      stdio: NO_STDIO,
    });
    try {
      await eventually(() => engine.statFile({ id, path: "/ready" }));
      const whilePaused = async (then: () => Promise<unknown>) => {
        let isOver = false;
        const commit = engine.commit({ id, ref: "docker.io/library/held:latest" }).finally(() => {
          isOver = true;
        });
        while (!isOver && (await engine.get({ id })).status !== "paused") await sleep(1);
        await Promise.all([then(), commit]);
      };
      // The commit that ends first does not resume it under the fork, nor under the other commit.
      await whilePaused(() => engine.fork({ id, create: CreateRequest.fromPartial({ id: forked }), run: undefined }));
      expect(await engine.get({ id })).toMatchObject({ status: "running" });
      await Promise.all([1, 2, 3].map(() => engine.commit({ id, ref: "docker.io/library/held:latest" })));
      expect(await engine.get({ id })).toMatchObject({ status: "running" });
      await whilePaused(() => engine.pause({ id }));
      expect(await engine.get({ id })).toMatchObject({ status: "paused" });
      // A call that is refused has not resumed it.
      expect(await refusal(engine.resume({ id, ttl: -5n }))).toContain("ttl -5");
      expect(await engine.get({ id })).toMatchObject({ status: "paused" });
      // What is removed while it is read is no image of half a layer.
      const commit = engine.commit({ id, ref: "docker.io/library/held:latest" }).then(
        ({ digest }) => digest,
        ({ details }) => details,
      );
      await engine.remove({ id, force: true });
      expect(await commit).toMatch(/^sha256:|^no container/);
    } finally {
      for (const one of [forked, id]) await engine.remove({ id: one, force: true }).catch(() => {});
    }
  },
);
