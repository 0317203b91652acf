import { expect, it } from "vitest";
import { changedConfig, type RunConfig } from "./config-changes.js";

// biome-ignore-start lint/suspicious/noTemplateCurlyInString: variables of Dockerfiles
const before: RunConfig = { Cmd: ["old"], Env: ["PATH=/bin", "A=1"], WorkingDir: "/srv", Labels: { a: "b" } };

it("does what lines of a Dockerfile say", () => {
  for (const [lines, expected] of [
    [['CMD ["sh", "-c"]'], { Cmd: ["sh", "-c"] }],
    [["cmd echo $A"], { Cmd: ["/bin/sh", "-c", "echo $A"] }],
    [["CMD"], { Cmd: null }],
    [['ENTRYPOINT ["init"]'], { Entrypoint: ["init"], Cmd: null }],
    [['CMD ["x"]', "ENTRYPOINT run it"], { Entrypoint: ["/bin/sh", "-c", "run it"], Cmd: ["x"] }],
    [["ENV A=2 B='x y' C=\"$A z\" D=\\$A"], { Env: ["PATH=/bin", "A=2", "B=x y", "C=1 z", "D=$A"] }],
    [["ENV PATH $PATH:/opt", "ENV E=${NO:-else}${A:+ set}"], { Env: ["PATH=/bin:/opt", "A=1", "E=else set"] }],
    [["EXPOSE 80 53/udp 90-91"], { ExposedPorts: { "80/tcp": {}, "53/udp": {}, "90/tcp": {}, "91/tcp": {} } }],
    [['LABEL c="d e" a=z'], { Labels: { a: "z", c: "d e" } }],
    [["LABEL old form here"], { Labels: { a: "b", old: "form here" } }],
    [["USER 1000:1000"], { User: "1000:1000" }],
    [["WORKDIR app/../b"], { WorkingDir: "/srv/b" }],
    [["VOLUME /a /b", 'VOLUME ["/c d"]'], { Volumes: { "/a": {}, "/b": {}, "/c d": {} } }],
    [["STOPSIGNAL SIGQUIT", "ONBUILD RUN x"], { StopSignal: "SIGQUIT", OnBuild: ["RUN x"] }],
    [["HEALTHCHECK NONE"], { Healthcheck: { Test: ["NONE"] } }],
    [
      ["HEALTHCHECK --interval=5s --retries=3 CMD curl x"],
      { Healthcheck: { Test: ["CMD-SHELL", "curl x"], Interval: 5e9, Retries: 3 } },
    ],
  ] as [string[], RunConfig][])
    expect(changedConfig(before, lines), lines.join()).toEqual({ ...before, ...expected });
  expect(before).toEqual({ Cmd: ["old"], Env: ["PATH=/bin", "A=1"], WorkingDir: "/srv", Labels: { a: "b" } });
});

it("refuses what it can't read, and quotes it", () => {
  for (const line of [
    "RUN x",
    "",
    "ENV",
    "ENV A",
    "ENV =b c=d",
    "ENV A='open",
    "ENV A=${B",
    "EXPOSE http",
    "EXPOSE 70000",
    "EXPOSE 9-8",
    "ONBUILD FROM x",
    "HEALTHCHECK --interval=x CMD y",
    "HEALTHCHECK RUN x",
    "USER",
  ])
    expect(() => changedConfig(before, [line]), line).toThrow(JSON.stringify(line));
});
// biome-ignore-end lint/suspicious/noTemplateCurlyInString: as above
