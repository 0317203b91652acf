/**
 * Does things side by side. When one fails, the signal of all is aborted, and only after all have ended, with their own traces removed,
 * that failure is thrown.
 * @param signal called off by it, they end as well
 * @param begin gives each promise to `add`, also later, as long as one that was given has not ended; may be asynchronous
 */
export async function together(
  signal: AbortSignal,
  begin: (ended: AbortSignal, add: (one: Promise<unknown>) => void) => void | Promise<void>,
): Promise<void> {
  signal.throwIfAborted();
  const controller = new AbortController();
  const abort = () => controller.abort(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  let failure: { reason: unknown } | undefined;
  const all: Promise<void>[] = [];
  const add = (one: Promise<unknown>) => {
    all.push(
      one.then(
        () => {},
        (reason: unknown) => {
          failure ??= { reason };
          controller.abort(reason);
        },
      ),
    );
  };
  try {
    add((async () => begin(controller.signal, add))());
    // The list may grow while it is gone through.
    for (let index = 0; index < all.length; index++) await all[index];
  } finally {
    signal.removeEventListener("abort", abort);
  }
  signal.throwIfAborted();
  if (failure !== undefined) throw failure.reason;
}
