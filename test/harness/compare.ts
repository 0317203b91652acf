/** Times of two calls that are made in turns, so that whatever else the machine does hits both. */

async function time(call: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await call();
  return performance.now() - begin;
}

const median = (times: number[]) => times.sort((a, b) => a - b)[Math.floor(times.length / 2)]!;

/** The middle times in ms of a call and of the one that it is compared with. */
export async function compare(
  call: () => Promise<unknown>,
  reference: () => Promise<unknown>,
  rounds = 9,
): Promise<[number, number]> {
  const times: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    times[0].push(await time(call));
    times[1].push(await time(reference));
  }
  return [median(times[0]), median(times[1])];
}

/** What a call may take that waits for nothing which the reference does not wait for; to wait for what hangs would take seconds. */
export const usualLimit = (reference: number): number => 3 * reference + 20;
