/** What the rounds of kills and faults are like, whichever API the clients speak. */

/** The kinds of rounds when there are faults: the first share of them kills only, the second injects a fault only. */
export const KILL_ONLY = 0.35;
export const FAULT_ONLY = 0.65;
/** In ms: a fault is there for so long at most, while the load goes on. */
export const LONGEST_FAULT = 1_500;
/** How often a daemon is killed again while it restores, and in ms how soon at the latest. */
export const SECOND_KILL = 0.15;
export const LONGEST_RESTORE = 300;
