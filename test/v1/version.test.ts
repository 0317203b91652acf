import { expect, test } from "vitest";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { refusal } from "../harness/v1.js";

const fixture = useContainerd1();

test("the version is that of containerd's API, and a client may ask for it without a namespace", async () => {
  const { version } = await fixture.daemon.v1("").version.version();
  expect(version).toMatch(isDebians ? /^1\.6\./ : /^1\.6\.\d+\+containerd-ts-/);
});

test.each(["containerd.services.nonsense.v1.Nonsense/Get", "containerd.services.version.v1.Version/Nonsense"])(
  "a service or method that is not there: %s",
  async (path) => {
    expect(await refusal(fixture.api.call(`/${path}`))).toMatch(/^UNIMPLEMENTED: /);
  },
);
