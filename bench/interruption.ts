/**
 * Aborted when the bench is told to end (Ctrl-C, SIGTERM): what takes long looks at it between its steps, and ends what it has started. It
 * is told twice by a Ctrl-C, to the group and by scripts/run-typescript.mjs.
 */
const controller = new AbortController();
export const interruption: AbortSignal = controller.signal;

for (const name of ["SIGINT", "SIGTERM", "SIGHUP"])
  process.on(name, () => {
    if (interruption.aborted) return;
    console.error(`bench: ${name}: ending what was started`);
    controller.abort(new Error(`it was ended by ${name}`));
  });
