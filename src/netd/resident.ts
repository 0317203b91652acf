/** What counts as this process's memory while it has nothing to do. */
import { callIn } from "../shim/loop";
import { releaseText } from "../shim/syscalls/memory";

/** In ms: how long after something was done the program's text is given back: it comes back as it is used. */
const DELAY = 3_000;

let isDue = false;

/** To be called when something is done. */
export function releaseLater(): void {
  if (isDue) return;
  isDue = true;
  callIn(DELAY, release);
}

function release(): void {
  isDue = false;
  releaseText();
}
