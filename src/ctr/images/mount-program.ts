import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** As the daemon tells it. */
interface Mount {
  type: string;
  source: string;
  options: string[];
}

/** Mounts what a snapshot consists of, on this machine. @throws Error with mount(8)'s words; nothing is mounted then */
export function mountAll(mounts: readonly Mount[], directory: string): void {
  let done = 0;
  try {
    for (const { type, source, options } of mounts) {
      const how = options.length === 0 ? [] : ["-o", options.join(",")];
      run("mount", ["-t", type, ...how, source, directory]);
      done++;
    }
  } catch (error) {
    for (; done > 0; done--) unmount(directory);
    throw error;
  }
}

/** What is not mounted need not be. */
export function unmount(directory: string): void {
  if (isMounted(directory)) run("umount", [directory]);
}

function isMounted(directory: string): boolean {
  const unescaped = (path: string) =>
    path.replace(/\\(\d{3})/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 8)));
  const lines = readFileSync("/proc/self/mountinfo", "latin1").split("\n");
  const wanted = Buffer.from(directory).toString("latin1");
  return lines.some((line) => unescaped(line.split(" ")[4] ?? "") === wanted);
}

function run(program: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: "utf8", stdio: ["ignore", "ignore", "pipe"] });
  if (error) throw new Error(`${program}: ${error.message}`);
  if (status !== 0) throw new Error(stderr.trim().split("\n")[0] || `${program} ended with ${status}`);
}
