/** Numbers that look random, and are the same for the same seed (Marsaglia's xorshift with 32 bits). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed ^ 0x5bd1e995) >>> 0 || 1;
    // Seeds that lie close to each other begin with numbers that do, too.
    for (let i = 0; i < 16; i++) this.next();
  }

  /** From 0 up to, but not, 1. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state / 2 ** 32;
  }

  /** A whole number; both ends included. */
  integer(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.next() * list.length)]!;
  }

  /** Another sequence, that goes its own way from here. */
  fork(): Random {
    return new Random(Math.floor(this.next() * 2 ** 32));
  }
}
