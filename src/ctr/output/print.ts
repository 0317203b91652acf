/** Writes to stdout; resolves when it has been handed to the system, so that an exit right after loses nothing. */
export function print(text: string | Uint8Array): Promise<void> {
  return written(process.stdout, text);
}

/** As {@link print}, to stderr. */
export function printError(text: string | Uint8Array): Promise<void> {
  return written(process.stderr, text);
}

function written(stream: NodeJS.WritableStream, text: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => (error ? reject(error) : resolve()));
  });
}
