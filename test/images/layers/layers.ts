/** Layer files made from archives, mounted, looked at, and gone with the test. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { type ConvertedLayer, convertLayer, type LayerConversion } from "../../../src/core/layers/convert.js";
import { mountsBelow } from "../../harness/mounted.js";

/** A directory for a test file, on a tmpfs; nothing in it and below it is left. */
export function workshop(): Workshop {
  const shop = new Workshop(mkdtempSync("/dev/shm/layers-"));
  afterAll(() => shop.close());
  return shop;
}

export class Workshop {
  readonly directory: string;
  #count = 0;

  constructor(directory: string) {
    this.directory = directory;
    mkdirSync(join(directory, "out"));
  }

  path(what: string): string {
    return join(this.directory, `${what}-${++this.#count}`);
  }

  /** A new directory. */
  make(what: string): string {
    const path = this.path(what);
    mkdirSync(path);
    return path;
  }

  /** Where layer files go to that a test expects to fail. */
  get out(): string {
    return join(this.directory, "out");
  }

  /** @returns the layer file, and what was said of it */
  async convert(blob: Buffer, more: Partial<LayerConversion> = {}): Promise<ConvertedLayer & { path: string }> {
    const path = this.path("blob");
    writeFileSync(path, blob);
    const output = join(this.out, `${++this.#count}.erofs`);
    try {
      const signal = new AbortController().signal;
      const converted = await convertLayer({
        layer: "sha256:1234",
        blob: path,
        mediaType: "",
        output,
        signal,
        ...more,
      });
      return { ...converted, path: output };
    } finally {
      rmSync(path);
    }
  }

  /** Fails unless a layer can't be made of it, for a reason in which each of `words` is. */
  async refuses(blob: Buffer, words: readonly string[], more: Partial<LayerConversion> = {}): Promise<void> {
    const error = await this.convert(blob, more).then(
      () => undefined,
      (error: Error) => error,
    );
    for (const word of ["sha256:1234", ...words]) expect(error?.message).toContain(word);
    expect(error).toMatchObject({ what: "bad-layer" });
    expect(readdirSync(this.out), "nothing is left").toEqual([]);
  }

  /** Checks a layer file, and calls `look` with where it is mounted. */
  async mounted<T>(file: string, look: (directory: string) => T | Promise<T>): Promise<T> {
    const { status, stdout, stderr } = spawnSync("fsck.erofs", [file], { encoding: "utf8" });
    expect({ status, errors: /<E>.*/.exec(stdout + stderr)?.[0] }, "fsck.erofs").toEqual({
      status: 0,
      errors: undefined,
    });
    const directory = this.make("mount");
    execFileSync("mount", ["-t", "erofs", "-o", "ro", file, directory]);
    try {
      return await look(directory);
    } finally {
      execFileSync("umount", [directory]);
    }
  }

  /** Calls `look` with where layers are mounted on each other: the lowest is the last. */
  async stacked<T>(layers: readonly string[], look: (directory: string) => T | Promise<T>): Promise<T> {
    const directory = this.make("overlay");
    // Overlayfs takes no single layer.
    const lower = [...layers, ...(layers.length === 1 ? [this.make("empty")] : [])].join(":");
    execFileSync("mount", ["-t", "overlay", "-o", `ro,lowerdir=${lower}`, "overlay", directory]);
    try {
      return await look(directory);
    } finally {
      execFileSync("umount", [directory]);
    }
  }

  /** Removes a layer file. */
  remove(file: string): void {
    rmSync(file);
  }

  close(): void {
    for (const line of mountsBelow(this.directory)) spawnSync("umount", ["--lazy", line.split(" ")[4]!]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/**
 * Has GNU tar extract an archive with a directory as its root, so that absolute symbolic links lead where they would in a container.
 * @returns its exit status and what it says
 */
export function extract(data: Buffer, directory: string, work: string): { status: number | null; output: string } {
  const file = `${work}.tar`;
  writeFileSync(file, data);
  // The host's files are below one name, which no archive here has, in a namespace that ends with it.
  const script = `
    mkdir "$1/.host" && mount --rbind / "$1/.host" && cd "$1" &&
    LD_LIBRARY_PATH=/.host/lib/x86_64-linux-gnu:/.host/usr/lib/x86_64-linux-gnu \\
      chroot . /.host"$(readlink -f /lib64/ld-linux-x86-64.so.2)" /.host/usr/bin/tar -C / -xpPf /.host"$2" \\
      --numeric-owner --same-owner --delay-directory-restore --xattrs --xattrs-include='*' --warning=no-timestamp`;
  const { status, stderr } = spawnSync("unshare", ["-m", "sh", "-c", script, "sh", directory, file], {
    encoding: "utf8",
  });
  rmSync(file);
  rmdirSync(join(directory, ".host"));
  return { status, output: stderr };
}
