import { setImmediate as nextTurn } from "node:timers/promises";
import type { Logger } from "pino";
import { parseRfc3339 } from "../../contract/go/rfc3339.js";
import { now } from "../../system/linux/clock.js";
import { errorText } from "../../system/linux/libc.js";
import { Slices } from "../scheduling/slices.js";
import { Workers } from "../scheduling/workers.js";
import type { Labels } from "./labels.js";
import type { Store } from "./store.js";

/** Something that is kept while it is needed, or that needs others. */
export interface Node {
  /** `content`, `images`, `containers`, `leases`, `ingests`, or `snapshots/NAME` of a snapshotter: as resources of leases have it. */
  kind: string;
  namespace: string;
  /** A digest, a name, an id, a snapshot's key. */
  key: string;
  /** Needed without what its labels name. */
  isFlat?: boolean;
}

/** A node as a collection finds it. */
export interface Found {
  namespace: string;
  key: string;
  /** Needed by itself. */
  isRoot: boolean;
}

/** How a collection deals with the nodes of one kind. It is called within {@link Store.read} or {@link Store.write}, and is quick. */
export interface Kind {
  readonly kind: string;
  /** Before each collection, and not within a look at the store: has what has no record removed. */
  tidy?(): Promise<void>;
  /** The next nodes in the order of namespaces and keys, no more than `limit`; none is the end. */
  page(after: Found | undefined, limit: number, when: CollectionRun): Found[];
  /** What a node needs; nothing for one that is not there. @param isFlat without what its labels name */
  references(namespace: string, key: string, isFlat: boolean): Node[];
  /**
   * Takes away a node that nothing needs, unless it has become a root; what it needs itself is still there. Without this the nodes are
   * roots and nothing else.
   * @returns undefined: nothing was removed; else what to do once that is on the disk, as removing files; it tells how many bytes it freed
   */
  remove?(namespace: string, key: string): (() => Promise<number>) | undefined;
  /** Within {@link Store.write}: something begins to need a node. One that was kept because it is new is kept for that from now on. */
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
  /** The disk is nearly full, or somebody wants all the room that there is: see {@link isYoung}. */
  isPressed: boolean;
}

/** In ms: how soon after something was let go of. What goes with it usually follows at once. */
const SOON = 1_000;
/** How many nodes are looked at between two looks at the clock. */
const PAGE = 64;
/** In ns: how long what nobody has a lease for, and nothing needs, is kept for who may be about to use it; the second when pressed. */
const YOUTH = 24n * 3600n * 1_000_000_000n;
const PRESSED_YOUTH = 600n * 1_000_000_000n;
/** In ms: a change of the store that removes takes no longer, so that others get their turn. */
const SLICE = 4;
/** How many files are removed at a time. */
const REMOVERS = 4;

/** A node that nothing needs but what goes with it. */
interface Going {
  node: Node;
  /** What it needs of those that go. */
  needed: readonly Going[];
  /** How many of those that go need it. */
  count: number;
}

const NOTHING: readonly Going[] = [];

/** What a collection that goes on has seen to be needed. */
class Marks {
  /** By {@link nameOf}; a node that is needed without what it refers to is not followed. */
  readonly #needed = new Map<string, { isFlat: boolean }>();
  /** Needed, and not followed yet. */
  readonly #open: Node[] = [];

  has(node: Node): boolean {
    return this.#needed.has(nameOf(node));
  }

  add(node: Node): void {
    const isFlat = node.isFlat === true;
    const name = nameOf(node);
    const before = this.#needed.get(name);
    if (before !== undefined && (isFlat || !before.isFlat)) return;
    this.#needed.set(name, { isFlat });
    this.#open.push(node);
  }

  /** The next one whose references are to be followed. */
  next(): Node | undefined {
    return this.#open.pop();
  }

  get isDone(): boolean {
    return this.#open.length === 0;
  }
}

/**
 * Removes what nothing needs: everything that can't be reached from a root. It works in small steps beside everything else; whoever makes
 * a node or a reference meanwhile says so, within its change, and what that reaches stays.
 */
export class Collection {
  readonly #store: Store;
  readonly #log: Logger;
  readonly #page: number;
  readonly #kinds = new Map<string, Kind>();
  /** Of the collection that goes on. */
  #marks: Marks | undefined;
  #running: Promise<unknown> = Promise.resolve();
  /** One that has not begun: who asks for one as this gets it. */
  readonly #waiting = new Map<boolean, Promise<Collected>>();
  #timer: NodeJS.Timeout | undefined;
  /** Resolves when the first node or reference is made: before that there is nothing new to collect. */
  readonly used: Promise<void>;
  #use = () => {};

  /** @param page how many nodes it looks at before it makes room for others */
  constructor(store: Store, log: Logger, page = PAGE) {
    this.#store = store;
    this.#log = log;
    this.#page = page;
    this.used = new Promise((resolve) => {
      this.#use = resolve;
    });
  }

  register(kind: Kind): void {
    this.#kinds.set(kind.kind, kind);
  }

  /** Within {@link Store.write}: a node has come into being. */
  made(node: Node): void {
    this.#use();
    this.#marks?.add(node);
  }

  /** Within {@link Store.write}: something needs these from now on. */
  refers(nodes: readonly Node[]): void {
    if (nodes.length > 0) this.#use();
    for (const node of nodes) {
      this.#kinds.get(node.kind)?.isNeeded?.(node.namespace, node.key);
      this.#marks?.add(node);
    }
  }

  /** Something was let go of: there is a collection within a moment. */
  soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.runUnasked();
    }, SOON).unref();
  }

  /** As {@link run}, for nobody: what goes wrong is in the log. */
  async runUnasked(run?: CollectionRun): Promise<void> {
    try {
      await this.run(run);
    } catch (error) {
      this.#log.error({ error: errorText(error) }, "containerd: collect what nothing needs");
    }
  }

  /** Collects, from now on: what nothing needs by now is gone when it resolves. @throws Failure when the store can't be used */
  run(run: CollectionRun = { isPressed: false }): Promise<Collected> {
    const waiting = this.#waiting.get(run.isPressed);
    if (waiting !== undefined) return waiting;
    const collected = this.#running.then(() => {
      this.#waiting.delete(run.isPressed);
      return this.#collect(run);
    });
    this.#waiting.set(run.isPressed, collected);
    this.#running = collected.catch(() => {});
    return collected;
  }

  /** References to what is not there, as they are now: the labels of an image may name parts of it that nobody wanted. */
  async *dangling(): AsyncGenerator<{ node: Node; needs: Node }> {
    const all = new Map<string, Node>();
    for await (const page of this.#pages(this.#kinds.values(), { isPressed: false }))
      for (const { node } of page) all.set(nameOf(node), node);
    for await (const edges of this.#edges([...all.values()]))
      for (const { node, needed } of edges)
        for (const needs of needed) if (!all.has(nameOf(needs))) yield { node, needs };
  }

  async #collect(run: CollectionRun): Promise<Collected> {
    const start = performance.now();
    const marks = new Marks();
    for (const { tidy } of this.#kinds.values()) await tidy?.();
    try {
      // What was changed before is on the disk by then, and seen; what is changed later says what it needs.
      await this.#store.write(() => {
        this.#marks = marks;
      });
      await this.#markRoots(marks, run);
      await this.#follow(marks);
      const collected = await this.#sweep(marks, run);
      if (Object.keys(collected.removed).length > 0) {
        const duration = Math.round(performance.now() - start);
        this.#log.info({ ...collected, duration }, "containerd: removed what nothing needs");
      }
      return collected;
    } finally {
      this.#marks = undefined;
    }
  }

  async #markRoots(marks: Marks, run: CollectionRun): Promise<void> {
    for await (const page of this.#pages(this.#kinds.values(), run))
      for (const { node, isRoot } of page) if (isRoot) marks.add(node);
  }

  async *#pages(kinds: Iterable<Kind>, run: CollectionRun): AsyncGenerator<{ node: Node; isRoot: boolean }[]> {
    const slices = new Slices();
    for (const { kind, page } of kinds) {
      for (let after: Found | undefined; ; ) {
        const found = await this.#store.read(() => page(after, this.#page, run));
        after = found.at(-1);
        if (after === undefined) break;
        yield found.map(({ namespace, key, isRoot }) => ({ node: { kind, namespace, key }, isRoot }));
        await slices.next();
      }
    }
  }

  /** What nodes need, in their order. */
  async *#edges(nodes: readonly Node[]): AsyncGenerator<{ node: Node; needed: Node[] }[]> {
    const slices = new Slices();
    for (let start = 0; start < nodes.length; start += this.#page) {
      const part = nodes.slice(start, start + this.#page);
      yield await this.#store.read(() => part.map((node) => ({ node, needed: this.#referencesOf(node) })));
      await slices.next();
    }
  }

  /** Until all is marked that what is marked needs. */
  async #follow(marks: Marks): Promise<void> {
    const slices = new Slices();
    while (!marks.isDone) {
      await this.#store.read(() => {
        for (let n = 0; n < this.#page; n++) {
          const node = marks.next();
          if (node === undefined) return;
          for (const needed of this.#referencesOf(node)) marks.add(needed);
        }
      });
      await slices.next();
    }
  }

  #referencesOf({ kind, namespace, key, isFlat = false }: Node): Node[] {
    return this.#kinds.get(kind)?.references(namespace, key, isFlat) ?? [];
  }

  async #sweep(marks: Marks, run: CollectionRun): Promise<Collected> {
    const queue = await this.#unneeded(marks, run);
    const removed: Record<string, number> = {};
    let freed = 0;
    const removers = new Workers(REMOVERS);
    const removals: Promise<void>[] = [];
    while (queue.length > 0) {
      // What has become needed meanwhile stays, with what it needs.
      await this.#follow(marks);
      const steps = await this.#store.write(() => this.#removeSome(queue, marks));
      for (const { kind, after } of steps) {
        removed[kind] = (removed[kind] ?? 0) + 1;
        removals.push(
          removers.run(undefined, async () => {
            const bytes = await this.#finish(kind, after);
            freed += bytes;
          }),
        );
      }
      await nextTurn();
    }
    await Promise.all(removals);
    return { removed, freed };
  }

  /** What its room could not remove is its own business: it has no record any more. */
  async #finish(kind: string, after: () => Promise<number>): Promise<number> {
    try {
      return await after();
    } catch (error) {
      this.#log.warn({ kind, error: errorText(error) }, "containerd: remove what nothing needs");
      return 0;
    }
  }

  /**
   * Within {@link Store.write}: removes the last ones of the queue, as many as there is time for; none while something that is needed has
   * not been followed.
   */
  #removeSome(queue: Node[], marks: Marks): { kind: string; after: () => Promise<number> }[] {
    const steps: { kind: string; after: () => Promise<number> }[] = [];
    const end = performance.now() + SLICE;
    while (marks.isDone && queue.length > 0 && performance.now() < end) {
      const node = queue.pop()!;
      const { kind, namespace, key } = node;
      const after = marks.has(node) ? undefined : this.#kinds.get(kind)!.remove!(namespace, key);
      if (after !== undefined) steps.push({ kind, after });
    }
    return steps;
  }

  /** What is not marked; in such an order that, from the end, none comes before one that needs it. */
  async #unneeded(marks: Marks, run: CollectionRun): Promise<Node[]> {
    const kinds = [...this.#kinds.values()].filter(({ remove }) => remove !== undefined);
    const going = new Map<string, Going>();
    for await (const page of this.#pages(kinds, run))
      for (const { node, isRoot } of page) {
        if (!isRoot && !marks.has(node)) going.set(nameOf(node), { node, needed: NOTHING, count: 0 });
      }
    const all = [...going.values()];
    let at = 0;
    for await (const edges of this.#edges(all.map(({ node }) => node)))
      for (const { needed } of edges) {
        const entry = all[at++]!;
        if (needed.length === 0) continue;
        entry.needed = needed.map((one) => going.get(nameOf(one))).filter((one) => one !== undefined);
        for (const one of entry.needed) one.count++;
      }
    const order = all.filter(({ count }) => count === 0);
    const slices = new Slices();
    for (const { needed } of order) {
      for (const one of needed) if (--one.count === 0) order.push(one);
      await slices.next();
    }
    // Those of circles, and what only they need.
    return [...order, ...all.filter(({ count }) => count > 0)].map(({ node }) => node).reverse();
  }
}

function nameOf({ kind, namespace, key }: Node): string {
  return `${kind}\0${namespace}\0${key}`;
}

const ROOT = "containerd.io/gc.root";
const EXPIRE = "containerd.io/gc.expire";
const CONTENT = "containerd.io/gc.ref.content";
const SNAPSHOT = "containerd.io/gc.ref.snapshot.";

/** What labels say that their owner needs: `containerd.io/gc.ref.content[.NAME]`, `containerd.io/gc.ref.snapshot.SNAPSHOTTER`. */
export function referencesOf(namespace: string, labels: Labels): Node[] {
  const nodes: Node[] = [];
  for (const [label, key] of Object.entries(labels)) {
    if (label === CONTENT || label.startsWith(`${CONTENT}.`)) nodes.push({ kind: "content", namespace, key });
    else if (label.startsWith(SNAPSHOT)) {
      // What comes after a slash tells several references apart.
      const [snapshotter] = label.slice(SNAPSHOT.length).split("/");
      nodes.push({ kind: `snapshots/${snapshotter}`, namespace, key });
    }
  }
  return nodes;
}

/** Whether its labels say that it is needed by itself. */
export function isRootLabelled(labels: Labels): boolean {
  return Object.hasOwn(labels, ROOT);
}

/** Whether its labels have a time, as RFC 3339, that is over; what can't be read as one is no end. */
export function isExpired(labels: Labels): boolean {
  const end = labels[EXPIRE];
  if (end === undefined) return false;
  try {
    return parseRfc3339(end) <= now();
  } catch {
    return false;
  }
}

/**
 * Whether something that nothing needs, and nobody has a lease for, is too new to be collected. What is of the day after tomorrow is not:
 * the clock has been set back since, and it would stay until that day.
 * @param time since when it is there
 */
export function isYoung(time: bigint, { isPressed }: CollectionRun): boolean {
  const age = now() - time;
  return age < (isPressed ? PRESSED_YOUTH : YOUTH) && age > -YOUTH;
}
