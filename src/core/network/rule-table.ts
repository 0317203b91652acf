import { applyNft } from "../../system/network/nft.js";
import {
  NFPROTO_BRIDGE,
  NFPROTO_INET,
  type NftablesLoss,
  NftablesWatch,
  tableHandle,
} from "../../system/network/nftables.js";
import { changeText, type Part, removalText, wholeText } from "./rules.js";

/** In ms: how long after rules were lost they are made anew, as who takes them away may be at it for a moment; at most, after failures. */
const RENEWAL_DELAY = 100;
const LONGEST_RENEWAL_DELAY = 3_000;

/** Parts by name; undefined: it is not to be there. */
export type PartChanges = ReadonlyMap<string, Part | undefined>;

interface Request {
  /** Undefined: all of it is made anew. */
  changes: PartChanges | undefined;
  /** Whether nothing else is to be there. */
  isWhole: boolean;
  resolve: () => void;
  reject: (error: unknown) => void;
}

export interface RuleTableOptions {
  table: string;
  onError: (error: unknown) => void;
  /**
   * It was made anew: what others than us have put into it is lost.
   * @param wasGone whether rules may have been missing before, since somebody else had taken them away
   */
  onRenewed: (wasGone: boolean) => void;
}

/**
 * Our tables in the kernel. There is one transaction at a time; what is asked for meanwhile is done by the next one together. When somebody
 * else takes them away, they are made anew.
 */
export class RuleTable {
  readonly #options: RuleTableOptions;
  /** What is to be there. */
  #parts = new Map<string, Part>();
  /** Of the kernel's table that has all of this; undefined: there is none, or nobody knows what it has. */
  #handle: bigint | undefined;
  #isKnown = false;
  /** Whether what all openings build on is in it. */
  #hasOpenings = false;
  #waiting: Request[] = [];
  #running: Promise<void> | undefined;
  #watch: NftablesWatch | undefined;
  #renewal: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: RuleTableOptions) {
    this.#options = options;
  }

  has(name: string): boolean {
    return this.#parts.has(name);
  }

  /** @throws what {@link applyNft} throws; then all of it is as it was */
  change(changes: PartChanges): Promise<void> {
    return this.#request(changes, false);
  }

  /** Has these parts and no others, made anew. @throws as {@link change} */
  replace(parts: ReadonlyMap<string, Part>): Promise<void> {
    return this.#request(parts, true);
  }

  /** Makes all of it anew, whatever is there. @throws as {@link change} */
  renew(): Promise<void> {
    return this.#request(undefined, false);
  }

  /** Whether the kernel has a table of the name, and the one that we have made, where there is to be one. @throws a system error */
  async isThere(): Promise<boolean> {
    const handle = await tableHandle(NFPROTO_INET, this.#options.table);
    return this.#parts.size === 0 ? handle === undefined : handle !== undefined && handle === this.#handle;
  }

  /** Rules stay as they are; nothing is done about their loss any more. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#renewal);
    await this.#running;
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }

  #request(changes: PartChanges | undefined, isWhole: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ changes, isWhole, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  async #run(): Promise<void> {
    // Whoever asks in this turn of the loop is done with, too.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const requests = this.#waiting.splice(0);
      try {
        await this.#apply(requests);
        for (const { resolve } of requests) resolve();
      } catch (error) {
        if (requests.length === 1) requests[0]!.reject(error);
        // Only who asks for what can't be is told so.
        else for (const request of requests) await this.#apply([request]).then(request.resolve, request.reject);
      }
    }
    this.#running = undefined;
  }

  async #apply(requests: readonly Request[]): Promise<void> {
    const before = this.#parts;
    const after = new Map(before);
    const touched = new Set<string>();
    let isWhole = !this.#isKnown;
    // Nobody asks for that but who has heard of a loss.
    const isLoss = requests.some(({ changes }) => changes === undefined);
    for (const request of requests) {
      if (request.isWhole) after.clear();
      isWhole ||= request.isWhole || request.changes === undefined;
      for (const [name, part] of request.changes ?? []) {
        touched.add(name);
        if (part === undefined) after.delete(name);
        else after.set(name, part);
      }
    }
    this.#parts = after;
    try {
      if (after.size === 0) await this.#removeAll();
      else if (isWhole || this.#handle === undefined || !this.#knows([...touched])) await this.#makeAll(isLoss);
      else await this.#changeSome([...touched], before);
    } catch (error) {
      this.#parts = before;
      if (!this.#isKnown && before.size > 0) this.#scheduleRenewal(LONGEST_RENEWAL_DELAY);
      throw error;
    }
  }

  /** Whether the table has what these parts build on. */
  #knows(names: readonly string[]): boolean {
    return this.#hasOpenings || names.every((name) => (this.#parts.get(name)?.opening ?? "") === "");
  }

  async #changeSome(names: readonly string[], before: ReadonlyMap<string, Part>): Promise<void> {
    const of = (parts: ReadonlyMap<string, Part>) => names.flatMap((name) => parts.get(name) ?? []);
    const text = changeText(this.#options.table, of(before), of(this.#parts));
    if (text === "") return;
    try {
      await applyNft(text);
    } catch {
      // Most likely somebody else has changed it: made anew, it is right; or it says what is wrong.
      await this.#makeAll(true);
    }
    this.#notice();
  }

  async #makeAll(isLoss: boolean): Promise<void> {
    const { table } = this.#options;
    const found = await Promise.all([NFPROTO_INET, NFPROTO_BRIDGE].map((family) => tableHandle(family, table)));
    const isOther = this.#handle !== undefined && this.#handle !== found[0];
    // First, so that no loss goes unheard.
    if (!this.#closed) this.#watch ??= new NftablesWatch(table, (loss) => this.#lost(loss));
    this.#isKnown = false;
    // The old one is taken away by ourselves.
    this.#handle = undefined;
    const parts = [...this.#parts.values()];
    await applyNft(wholeText(table, parts));
    this.#hasOpenings = parts.some(({ opening }) => opening !== "");
    this.#handle = await tableHandle(NFPROTO_INET, table);
    this.#isKnown = true;
    if (this.#handle === undefined) this.#scheduleRenewal(RENEWAL_DELAY);
    this.#notice();
    if (this.#hasOpenings) this.#options.onRenewed(isLoss || isOther || found.includes(undefined));
  }

  async #removeAll(): Promise<void> {
    const { table } = this.#options;
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
    clearTimeout(this.#renewal);
    this.#handle = undefined;
    this.#isKnown = false;
    const found = await Promise.all([NFPROTO_INET, NFPROTO_BRIDGE].map((family) => tableHandle(family, table)));
    if (found.some((handle) => handle !== undefined)) await applyNft(removalText(table));
    this.#isKnown = true;
  }

  /** What was taken away up to now was so by ourselves, but for the table itself. */
  #notice(): void {
    const loss = this.#watch?.take();
    if (loss === undefined) return;
    this.#heed({ ...loss, isPart: false });
  }

  #lost(loss: NftablesLoss): void {
    // During a transaction of ours most of it is our own doing.
    this.#heed(this.#running === undefined ? loss : { ...loss, isPart: false });
  }

  #heed({ tables, isPart, isUnsure }: NftablesLoss): void {
    const isOurs = this.#handle !== undefined && tables.includes(this.#handle);
    if (isOurs || isPart) this.#scheduleRenewal(RENEWAL_DELAY);
    else if (isUnsure) void this.#renewIfGone();
  }

  /** Of a host whose rules change so fast that the kernel does not tell all of it. */
  async #renewIfGone(): Promise<void> {
    try {
      if (this.#running === undefined && !(await this.isThere())) this.#scheduleRenewal(RENEWAL_DELAY);
    } catch (error) {
      this.#options.onError(error);
    }
  }

  #scheduleRenewal(delay: number): void {
    if (this.#closed || this.#renewal !== undefined) return;
    this.#renewal = setTimeout(() => {
      this.#renewal = undefined;
      if (this.#parts.size === 0) return;
      this.renew().then(
        () => {
          // Else it is told already.
          if (!this.#hasOpenings) this.#options.onRenewed(true);
        },
        (error) => {
          // Of a series of failures the first is told.
          if (delay < LONGEST_RENEWAL_DELAY) this.#options.onError(error);
          this.#scheduleRenewal(Math.min(delay * 2, LONGEST_RENEWAL_DELAY));
        },
      );
    }, delay);
  }
}
