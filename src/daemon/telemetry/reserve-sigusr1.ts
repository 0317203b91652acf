/**
 * Imported before everything else. To Node, SIGUSR1 means "open the inspector": a port on which anybody on this machine could run code
 * as root. With a listener it doesn't, and there has to be one before anything takes time. A signal that came even before that, while Node
 * itself was starting, has opened it already: then it is closed.
 */
import { close, url } from "node:inspector";

process.on("SIGUSR1", () => {});

const wanted = [...process.execArgv, process.env.NODE_OPTIONS ?? ""].some((text) => text.includes("--inspect"));

setImmediate(() => {
  if (url() !== undefined && !wanted) close();
});
