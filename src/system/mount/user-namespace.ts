import { openSync, readlinkSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { Child, devNull } from "../linux/child.js";
import { findProgram } from "../linux/spawn.js";

/** In seconds: how long its first process stays when nobody ends it, as when this one is killed. */
const LIFE = 10;
/** In ms: how long making one may take, and how often it is looked for. */
const TIMEOUT = 5_000;
const INTERVAL = 1;

/** Which ids of a namespace are which ones outside of it. */
export interface IdRange {
  inside: number;
  outside: number;
  length: number;
}

/**
 * Makes a user namespace with these ids.
 * @returns a descriptor, to be closed; no process is in the namespace any more
 * @throws a system error; Error
 */
export async function makeUserNamespace(uids: readonly IdRange[], gids: readonly IdRange[]): Promise<number> {
  const program = findProgram("unshare");
  if (program === undefined) throw new Error("unshare: not installed");
  const env = [`PATH=${process.env.PATH}`];
  const fds = [devNull, devNull, devNull];
  const child = await Child.spawn(program, ["unshare", "--user", "--", "sleep", `${LIFE}`], { env, fds });
  try {
    const path = `/proc/${child.pid}/ns/user`;
    const ours = readlinkSync("/proc/self/ns/user");
    const deadline = performance.now() + TIMEOUT;
    while (readlinkSync(path) === ours) {
      if (!child.running || performance.now() > deadline) throw new Error("no user namespace was made");
      await delay(INTERVAL);
    }
    writeFileSync(`/proc/${child.pid}/uid_map`, mapOf(uids));
    writeFileSync(`/proc/${child.pid}/gid_map`, mapOf(gids));
    return openSync(path, "r");
  } finally {
    child.kill();
    await child.exited;
  }
}

function mapOf(ranges: readonly IdRange[]): string {
  return ranges.map(({ inside, outside, length }) => `${inside} ${outside} ${length}\n`).join("");
}
