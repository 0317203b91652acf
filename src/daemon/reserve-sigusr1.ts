/**
 * Imported before everything else. To Node, SIGUSR1 means "open the inspector": a port on which anybody on this machine could run code
 * as root. With a listener it doesn't, and there has to be one before anything takes time.
 */
process.on("SIGUSR1", () => {});
