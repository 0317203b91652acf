import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";

/** Mounts a file system whose program never answers; closing what is answered ends it, and everybody who waits. */
export function mountSilence(directory: string): () => void {
  mkdirSync(directory, { recursive: true });
  const device = openSync("/dev/fuse", "r+");
  const options = "fd=3,rootmode=40000,user_id=0,group_id=0";
  execFileSync("mount", ["-i", "-t", "fuse", "-o", options, "ctd-silent", directory], {
    stdio: ["ignore", "inherit", "inherit", device],
  });
  return () => {
    closeSync(device);
    execFileSync("umount", ["--lazy", directory]);
  };
}
