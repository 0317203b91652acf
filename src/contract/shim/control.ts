/** Requests on the control FIFO: lines `<kind> <width> <height>`. */

/** Closes the process's stdin; width and height are 0. */
export const CLOSE_STDIN = 0;
/** Sets the size of its terminal, in characters. */
export const RESIZE = 1;
