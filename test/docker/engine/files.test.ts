/** Files and images of Docker's containers: they live in dockerd, and find the container's root file system where its task has it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hasDocker, image, useDockerHost } from "../../harness/docker-host.js";

const fixture = useDockerHost();

describe.skipIf(!hasDocker)("files", () => {
  test("cp into and out of a container that runs, and of one that has ended; diff", async () => {
    writeFileSync(join(fixture.host.dir, "in"), "content");
    await fixture.host.docker("run", "--detach", "--name=runs", image, "sh", "-c", "exec sleep 1000");
    await fixture.host.docker("cp", join(fixture.host.dir, "in"), "runs:/tmp/file");
    expect(await fixture.host.docker("exec", "runs", "cat", "/tmp/file")).toBe("content");
    await fixture.host.docker("exec", "runs", "rm", "/bin/vi");
    expect((await fixture.host.docker("diff", "runs")).split("\n").sort()).toEqual([
      "A /tmp/file",
      "C /bin",
      "C /tmp",
      "D /bin/vi",
    ]);
    await fixture.host.docker("kill", "runs");
    expect(await fixture.host.shell("docker cp runs:/tmp/file - | tar -xO")).toBe("content");
  });

  test("commit of a container that runs, export and import, save and load", async () => {
    const script = "echo kept >/file; exec sleep 1000";
    await fixture.host.docker("run", "--detach", "--name=source", image, "sh", "-c", script);
    await fixture.host.docker("commit", "--change=CMD cat /file", "source", "committed:1");
    expect(await fixture.host.docker("run", "--rm", "committed:1")).toBe("kept");
    await fixture.host.shell("docker export source | docker import - imported:1");
    expect(await fixture.host.docker("run", "--rm", "imported:1", "cat", "/file")).toBe("kept");
    await fixture.host.shell(
      "docker save committed:1 -o saved.tar && docker image rm committed:1 && docker load -i saved.tar",
    );
    expect(await fixture.host.docker("run", "--rm", "committed:1")).toBe("kept");
    await fixture.host.docker("image", "rm", "committed:1", "imported:1");
  });

  test("build with the classic builder: steps that run, a stage that is copied from, the cache; a step that fails", async () => {
    const context = join(fixture.host.dir, "context");
    mkdirSync(context);
    writeFileSync(join(context, "data"), "from the context");
    writeFileSync(
      join(context, "Dockerfile"),
      `FROM ${image} AS first
ARG WORD=none
COPY data /data
RUN echo "$WORD" >/word && cat /data >>/word
FROM ${image}
COPY --from=first /word /word
USER 1000
CMD ["cat", "/word"]
`,
    );
    await fixture.host.docker("build", "--tag=built", "--build-arg=WORD=said", context);
    expect(await fixture.host.docker("run", "--rm", "built")).toBe("said\nfrom the context");
    expect(await fixture.host.docker("build", "--tag=built", "--build-arg=WORD=said", context)).toContain(
      "Using cache",
    );
    writeFileSync(join(context, "Dockerfile"), `FROM ${image}\nRUN exit 9\n`);
    const failed = await fixture.host.attempt(["build", context]);
    expect(failed.code).toBe(9);
    expect(failed.stderr).toContain("returned a non-zero code: 9");
  });
});
