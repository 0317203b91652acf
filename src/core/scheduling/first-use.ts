/** What has to be done once before something can be used. */
export class FirstUse<T> {
  readonly #work: () => Promise<T>;
  #doing: Promise<T> | undefined;

  constructor(work: () => Promise<T>) {
    this.#work = work;
  }

  /** What was begun, and has not failed. */
  get begun(): Promise<T> | undefined {
    return this.#doing;
  }

  /** Does it, unless that was begun. Whatever makes it fail may be mended by the next call. */
  done(): Promise<T> {
    this.#doing ??= this.#work().catch((error) => {
      this.#doing = undefined;
      throw error;
    });
    return this.#doing;
  }
}
