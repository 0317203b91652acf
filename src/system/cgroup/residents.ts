/** The directories in which each container of this daemon lives, or is about to. */
const residents = new Map<object, readonly string[]>();

export function moveIn(container: object, directories: readonly string[]): void {
  residents.set(container, directories);
}

export function moveOut(container: object): void {
  residents.delete(container);
}

/** Whether another container lives in one of these directories, or below. */
export function sharesOneOf(container: object, directories: readonly string[]): boolean {
  for (const [other, theirs] of residents) {
    if (other === container) continue;
    if (theirs.some((path) => directories.some((directory) => `${path}/`.startsWith(`${directory}/`)))) return true;
  }
  return false;
}
