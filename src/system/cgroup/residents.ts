/** The cgroup directories of each container of this daemon, made already or about to be. */
const residents = new Map<object, readonly string[]>();

export function moveIn(container: object, directories: readonly string[]): void {
  residents.set(container, directories);
}

export function moveOut(container: object): void {
  residents.delete(container);
}

/** Whether another container has one of these directories, or one below. */
export function sharesOneOf(container: object, directories: readonly string[]): boolean {
  for (const [other, theirs] of residents) {
    if (other === container) continue;
    if (theirs.some((path) => directories.some((directory) => `${path}/`.startsWith(`${directory}/`)))) return true;
  }
  return false;
}
