import type { Collection, Node } from "../metadata/collection.js";

/** A room that can say what is wrong with what it keeps. */
interface Checked {
  check(isThorough: boolean): AsyncIterable<string>;
}

export interface StoreParts {
  collection: Collection;
  /** Content and snapshots: their files, directories and mounts against their records. */
  rooms: readonly Checked[];
}

/**
 * Tells what is wrong with all that is kept, a sentence each: files that no record knows of, records whose file is not there or is another
 * one, references that lead nowhere. What is written meanwhile may be told of as well.
 * @param isThorough also compares every blob with its digest, which reads all of them
 */
export async function* checkStore({ collection, rooms }: StoreParts, isThorough = false): AsyncGenerator<string> {
  for (const room of rooms) yield* room.check(isThorough);
  for await (const { node, needs } of collection.dangling())
    if (hasToBeThere(node, needs)) yield `${describe(node)} needs ${describe(needs)}, which is not there`;
}

/**
 * An image has parts that nobody wanted, who has a lease may delete what is in it, and a container's image may be a name that means
 * something to its client alone.
 */
function hasToBeThere(node: Node, needs: Node): boolean {
  if (node.kind === "images") return needs.kind === "content";
  // What else a snapshot names is in labels, which are its client's.
  if (node.kind.startsWith("snapshots/")) return needs.kind === "layers" || needs.kind === node.kind;
  return node.kind !== "content" && node.kind !== "leases" && needs.kind !== "images";
}

function describe({ kind, namespace, key }: Node): string {
  return `${kind} ${JSON.stringify(key)} of namespace ${JSON.stringify(namespace)}`;
}
