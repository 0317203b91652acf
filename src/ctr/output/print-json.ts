import { goJson } from "./go-json.js";
import { print } from "./print.js";

/** Byte for byte what the original prints, without a newline; on a terminal with one, for the prompt's sake. */
export async function printJson(message: object): Promise<void> {
  await print(goJson(message) + (process.stdout.isTTY ? "\n" : ""));
}
