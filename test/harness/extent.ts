/** How much is tried: `npm test` goes one path for each feature, `npm run test:full` all of them, and more often. */
/** For a test that as a whole is a second path of a feature: `test.skipIf(!full)`. */
export const full = process.env.CONTAINERD_TS_TEST_FULL === "1";

/** All cases of a matrix, or the first ones. */
export function cases<Case>(all: readonly Case[], first = 1): Case[] {
  return full ? [...all] : all.slice(0, first);
}

/** A number of rounds, containers, … */
export function times(inFull: number, usually: number): number {
  return full ? inFull : usually;
}
