/** One part of dist/ that is built by itself. */
export interface Product {
  /** For messages and the record of what was built. */
  readonly name: string;
  /** Files that are there once it has been built. */
  readonly outputs: readonly string[];
  /** What else than sources it is made from: when that changes, it is stale. */
  readonly variant?: () => string;
  /** Builds it; resolves with its sources: when the content of one of them changes, it is stale. */
  build(): Promise<string[]>;
}
