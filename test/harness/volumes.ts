/** An image that wants volumes, and mounts of volumes. */
import { join } from "node:path";
import { Mount } from "../../src/proto/containerdts/engine/v1/engine.js";
import type { TestDaemon } from "./daemon.js";
import {
  base,
  directory,
  file,
  hardLink,
  ImageLayout,
  opaque,
  symlink,
  type TestImage,
  whiteout,
} from "./test-images.js";
import { Transfers } from "./transfer.js";

/** What the image is called. */
export const VOLUMES_IMAGE = "docker.io/library/test:volumes";

/** Whose the image's /data is. */
export const OWNER = { uid: 1001, gid: 1002 };

/** /data, which the image wants a volume at, has a file of each kind; at /logs it wants one and has nothing. */
export async function importVolumesImage(daemon: TestDaemon, namespace = "default"): Promise<TestImage> {
  const layout = new ImageLayout(join(daemon.dir, "volumes-image"));
  const lower = [
    directory("data", { mode: 0o2750, ...OWNER }),
    file("data/removed", "gone"),
    directory("data/hidden"),
    file("data/hidden/old", "old"),
    symlink("link", "data"),
  ];
  const upper = [
    directory("data", { mode: 0o2750, ...OWNER }),
    whiteout("data/removed"),
    directory("data/hidden"),
    opaque("data/hidden"),
    file("data/hidden/new", "new"),
    file("data/file", "content\n", { mode: 0o640, ...OWNER, pax: { "SCHILY.xattr.user.note": "hello" } }),
    hardLink("data/second", "data/file"),
    symlink("data/outside", "/etc/passwd"),
    file("data/setuid", "x", { mode: 0o4755 }),
  ];
  const layers = [await layout.layer(base()), await layout.layer(lower), await layout.layer(upper)];
  const config = {
    ...{ Cmd: ["sh"], Env: ["PATH=/bin:/usr/bin"], WorkingDir: "/" },
    Volumes: { "/data/": {}, "/logs": {}, "/proc/x": {}, "/etc/hosts": {} },
  };
  const image = layout.image({ layers, config });
  layout.name(image.manifest, VOLUMES_IMAGE);
  const archive = join(daemon.dir, "volumes-image.tar");
  await layout.archive(archive);
  await new Transfers(daemon.v1(namespace)).import(archive, { name: VOLUMES_IMAGE });
  return image;
}

/** @param name "" is one that goes with the container */
export function volumeAt(name: string, destination: string, more: Partial<Mount> = {}): Mount {
  return Mount.fromPartial({ type: "volume", source: name, destination, ...more });
}
