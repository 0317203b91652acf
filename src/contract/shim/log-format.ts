/**
 * A container's log is one sequence of bytes, in files that are each called by where they begin in it: `0000000000000000.log`. Its lines
 * are CRI's: `2016-10-06T00:17:09.669794202Z stdout F text`.
 */

/** How many decimal digits the name of a file has. */
export const POSITION_DIGITS = 16;
/** What follows the digits. */
export const LOG_SUFFIX = ".log";
/** No line of a log is longer, in bytes, with all that stands before its text. */
export const LONGEST_LINE = 65536;

/** The tag of a line that is whole. */
export const FULL_TAG = "F";
/** Of a part of a line: the next one of the same stream goes on with it. */
export const PART_TAG = "P";
/** Of the last part of a line that never came to its end: no newline was printed. CRI's readers take what begins with `F:` for whole. */
export const CUT_TAG = "F:cut";
/** Of a line that the shim writes itself, of as many lines as are told behind it, which the disk had no room for: `F:dropped:12`. */
export const DROPPED_TAG = "F:dropped";
