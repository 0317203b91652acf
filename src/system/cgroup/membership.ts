/** One line of /proc/<pid>/cgroup: where a process is in one hierarchy. */
export interface Membership {
  /** As in mountinfo; empty for v2's one hierarchy. */
  controllers: string[];
  /** Absolute, from the reader's cgroup namespace. */
  path: string;
  /** The cgroup is removed; the process is a zombie. */
  deleted: boolean;
}

/**
 * Reads the text of a /proc/<pid>/cgroup (cgroups(7)):
 *
 *     4:memory:/docker/8a98
 *     0::/docker/8a98
 */
export function parseMembership(text: string): Membership[] {
  const memberships: Membership[] = [];
  for (const line of text.split("\n")) {
    // The path is the rest: it may hold colons.
    const match = /^(\d+):([^:]*):(\/.*?)( \(deleted\))?$/.exec(line);
    if (!match) continue;
    const [, , controllers, path, deleted] = match;
    memberships.push({
      controllers: controllers === "" ? [] : controllers!.split(","),
      path: path!,
      deleted: deleted !== undefined,
    });
  }
  return memberships;
}
