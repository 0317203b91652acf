/** What a container has used, written down before its cgroup is removed, and its counters with it. */

import { CGROUP_JSON, USAGE_FILE } from "../contract/shim/process-directory";
import type { CgroupJson } from "../contract/shim/usage-json";
import { logWarning } from "./log";
import { loadJson } from "./process-state";
import * as files from "./syscalls/files";

/** How many cgroups below a container's are looked at: it can make as many as it likes. */
const MOST_BELOW = 1000;
const TEMPORARY_NAME = `${USAGE_FILE}.tmp`;

/** What the daemon has written down of the container's cgroup, as far as that can be read. */
export function readCgroup(): CgroupJson {
  const text = files.readFile(`../${CGROUP_JSON}`);
  if (typeof text === "number") return {};
  const [ok, cgroup] = pcall(() => loadJson().decode(text));
  if (ok) return cgroup as CgroupJson;
  logWarning(`usage: ${cgroup}`);
  return {};
}

/** In ns. */
function cpuTime(place: NonNullable<CgroupJson["place"]>): number | undefined {
  if (place.cpuacct !== undefined) return count(`${place.cpuacct.path}/cpuacct.usage`, "^");
  if (place.unified === undefined) return undefined;
  const microseconds = count(`${place.unified.path}/cpu.stat`, "usage_usec ");
  return microseconds === undefined ? undefined : microseconds * 1000;
}

/** The number behind a name in a file of such lines, or in a file of one number. */
function count(path: string, name: string): number | undefined {
  const text = files.readFile(path);
  if (typeof text === "number") return undefined;
  const [digits] = string.match(text, `${name}(%d+)`);
  return tonumber(digits);
}

/** v1 counts the kills of each cgroup alone. */
function killsBelow(directory: string): number {
  let kills = 0;
  const left = [directory];
  for (let next = 0; next < left.length && next < MOST_BELOW; next++) {
    const path = left[next]!;
    kills += count(`${path}/memory.oom_control`, "oom_kill ") ?? 0;
    for (const name of files.directoriesIn(path)) left[left.length] = `${path}/${name}`;
  }
  return kills;
}

function record({ place }: CgroupJson): void {
  const isV1 = place?.memory !== undefined;
  const directory = place?.memory?.path ?? place?.unified?.path;
  if (place === undefined || directory === undefined) return;
  const peak = count(isV1 ? `${directory}/memory.max_usage_in_bytes` : `${directory}/memory.peak`, "^");
  const kills = isV1 ? killsBelow(directory) : count(`${directory}/memory.events`, "oom_kill ");
  const fields: string[] = [];
  if (peak !== undefined) fields[fields.length] = string.format('"memoryPeak":%.0f', peak);
  if (kills !== undefined) fields[fields.length] = string.format('"oomKills":%.0f', kills);
  const time = cpuTime(place);
  if (time !== undefined) fields[fields.length] = string.format('"cpuTime":%.0f', time);
  const fd = files.open(TEMPORARY_NAME, files.O_WRONLY + files.O_CREAT + files.O_TRUNC, 0o600);
  if (fd < 0) return;
  const text = `{${table.concat(fields, ",")}}`;
  const isWhole = files.write(fd, text, text.length) === text.length;
  files.close(fd);
  if (isWhole) files.rename(TEMPORARY_NAME, USAGE_FILE);
  else files.unlink(TEMPORARY_NAME);
}

/** Writes down the most memory that the container had, how many of its processes were killed for lack of it, and its time on processors. */
export function recordUsage(cgroup: CgroupJson): void {
  const [ok, problem] = pcall(record, cgroup);
  if (!ok) logWarning(`usage: ${problem}`);
}
