/** How the snapshot is called that is mounted at a directory. */
export function snapshotOf(directory: string): string {
  return `mounted at ${directory}`;
}
