/** What a daemon is told of registries outside of its API: flags, files, environment. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Authority } from "../../harness/certificates.js";
import { startDaemon } from "../../harness/daemon.js";
import { hasRegistry, startRegistry, USER } from "../../harness/registry.js";
import { directoryPrefix } from "../../harness/run-name.js";
import { makeTestImage } from "../../harness/test-images.js";
import { Transfers } from "../../harness/transfer.js";
import { imageNames } from "../../harness/unpacked.js";
import { refusal } from "../../harness/v1.js";

test.skipIf(!hasRegistry)("--hosts-dir, a mirror, and a credential helper on the daemon's PATH", async () => {
  const dir = mkdtempSync(directoryPrefix());
  try {
    const authority = new Authority(dir, "daemon");
    await using registry = await startRegistry({
      tls: { ...authority.issue("server"), ca: authority.ca },
      htpasswd: true,
    });
    const { layout } = await makeTestImage(join(dir, "image"), "base");
    await registry.push(layout.dir, "team/image:1");
    // At the name's own host nobody is there: the registry is its mirror.
    const host = "127.0.0.1:9";
    const hosts = join(dir, "certs.d", "127.0.0.1_9_");
    mkdirSync(hosts, { recursive: true });
    writeFileSync(join(hosts, "hosts.toml"), `[host."https://${registry.host}"]\nca = "${authority.ca}"\n`);
    writeFileSync(join(dir, "config.json"), JSON.stringify({ credHelpers: { [registry.host]: "of-a-test" } }));
    const helper = `#!/bin/sh\necho "$* $(cat)" >>${dir}/asked\necho '{"Username":"${USER.username}","Secret":"${USER.password}"}'\n`;
    writeFileSync(join(dir, "docker-credential-of-a-test"), helper, { mode: 0o755 });
    await using daemon = await startDaemon({
      flags: ["--debug", "--hosts-dir", join(dir, "nowhere"), "--hosts-dir", join(dir, "certs.d")],
      env: { DOCKER_CONFIG: dir, PATH: `${dir}:${process.env.PATH}` },
    });
    const api = daemon.v1("team");
    const transfers = new Transfers(api);
    const events = await transfers.pull(`${host}/team/image:1`);
    expect(await imageNames(api)).toEqual([`${host}/team/image:1`]);
    expect(readFileSync(join(dir, "asked"), "utf8")).toBe(`get ${registry.host}\n`);
    // Files are read anew each time, and errors name them.
    writeFileSync(join(dir, "config.json"), "{");
    const refused = await refusal(transfers.pull(`${host}/team/image:2`));
    expect(refused).toContain(join(dir, "config.json"));
    writeFileSync(join(hosts, "hosts.toml"), "skip_verify = 1");
    const wrong = await refusal(transfers.pull(`${host}/team/image:1`));
    expect(wrong).toMatch(/^INVALID_ARGUMENT/);
    expect(wrong).toContain(`${join(hosts, "hosts.toml")}: skip_verify: is neither true nor false`);
    const shown = JSON.stringify(events, (_, value) => (typeof value === "bigint" ? `${value}` : value)) + daemon.log;
    expect(shown).not.toContain(USER.password);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
