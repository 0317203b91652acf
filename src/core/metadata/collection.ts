import type { Logger } from "pino";
import { Failure } from "../failure/failure.js";
import type { Labels } from "./labels.js";
import type { Store } from "./store.js";

/** Something that is kept while it is needed, or that needs others. */
export interface Node {
  /** `content`, `images`, `containers`, `leases`, `ingests`, or `snapshots/NAME` of a snapshotter: as resources of leases have it. */
  kind: string;
  namespace: string;
  /** A digest, a name, an id, a snapshot's key. */
  key: string;
}

/** A node as a collection finds it. */
export interface Found {
  namespace: string;
  key: string;
  /** Needed by itself. */
  isRoot: boolean;
}

/** How a collection deals with the nodes of one kind. All of it is called within {@link Store.read} or {@link Store.write}, and is quick. */
export interface Kind {
  readonly kind: string;
  /** The next nodes in the order of namespaces and keys, no more than `limit`; none is the end. `when.isPressed`: the disk is nearly full. */
  page(after: Found | undefined, limit: number, when: { isPressed: boolean }): Found[];
  /** What a node needs; nothing for one that is not there. @param isFlat a lease that is flat has it: it does not want what only labels name */
  references(namespace: string, key: string, isFlat: boolean): Node[];
  /**
   * Takes a node away that nothing needs; before those that it needs itself. Without this the kind's nodes are only roots.
   * @returns what to do once that is on the disk, as removing files; resolves to how many bytes that freed
   */
  remove?(namespace: string, key: string): (() => Promise<number>) | undefined;
  /** Something begins to need a node: what was kept because it is new is kept for that from now on. */
  isNeeded?(namespace: string, key: string): void;
}

/** What a collection has done. */
export interface Collected {
  /** How many nodes of each kind were removed. */
  removed: Record<string, number>;
  /** In bytes, on the disk. */
  freed: number;
}

export interface CollectionRun {
  /** What is only kept because it is new goes as well: for a disk that is nearly full. */
  isPressed?: boolean;
}

/**
 * Removes what nothing needs: everything that can't be reached from a root. It works in small steps beside everything else; whoever makes
 * a node or a reference meanwhile says so, within its change, and what that reaches stays.
 */
export class Collection {
  constructor(
    readonly store: Store,
    readonly log: Logger,
  ) {}

  register(_kind: Kind): void {}

  /** Within {@link Store.write}: a node has come into being, or has got another content. */
  made(_node: Node): void {}

  /** Within {@link Store.write}: something that is kept needs these from now on. */
  refers(_nodes: readonly Node[]): void {}

  /** Something was let go of: there is a collection within a moment. */
  soon(): void {}

  /** Collects, from now: what is let go of by now is gone when it resolves. */
  run(_run: CollectionRun = {}): Promise<Collected> {
    throw new Failure("unimplemented", "refused", { why: "collection" });
  }
}

const CONTENT = "containerd.io/gc.ref.content";
const SNAPSHOT = "containerd.io/gc.ref.snapshot.";

/** What labels say that their owner needs: `containerd.io/gc.ref.content[.NAME]`, `containerd.io/gc.ref.snapshot.SNAPSHOTTER`. */
export function referencesOf(namespace: string, labels: Labels): Node[] {
  const nodes: Node[] = [];
  for (const [label, key] of Object.entries(labels)) {
    if (label === CONTENT || label.startsWith(`${CONTENT}.`)) nodes.push({ kind: "content", namespace, key });
    else if (label.startsWith(SNAPSHOT)) {
      // What comes after a slash is no part of the snapshotter's name.
      const [snapshotter] = label.slice(SNAPSHOT.length).split("/");
      nodes.push({ kind: `snapshots/${snapshotter}`, namespace, key });
    }
  }
  return nodes;
}
