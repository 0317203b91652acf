/** A promise, and what resolves it. Node 20 has no Promise.withResolvers. */
export function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((then) => {
    resolve = then;
  });
  return { promise, resolve };
}
