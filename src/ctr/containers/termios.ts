import { createRequire } from "node:module";
import { getSystemErrorMap } from "node:util";

/** struct termios of Linux's C libraries, with room to spare. */
const TERMIOS_SIZE = 128;
/** struct winsize: rows, columns, and the size in pixels. */
const WINSIZE_SIZE = 8;
const getWindowSize = process.arch === "ppc64" ? 0x40087468 : 0x5413;
/** After what has been written is out. */
const TCSADRAIN = 1;

function loadLibc() {
  // Not an import: only attached terminals need it, and loading it takes 8 ms.
  const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi");
  const libc = koffi.load(null);
  return {
    tcgetattr: libc.func("int tcgetattr(int fd, void *termios)"),
    tcsetattr: libc.func("int tcsetattr(int fd, int actions, void *termios)"),
    cfmakeraw: libc.func("void cfmakeraw(void *termios)"),
    ioctl: libc.func("int ioctl(int fd, unsigned long request, ...)"),
    reason: () => getSystemErrorMap().get(-koffi.errno())?.[1] ?? `error ${koffi.errno()}`,
  };
}

let loaded: ReturnType<typeof loadLibc> | undefined;
function libc() {
  loaded ??= loadLibc();
  return loaded;
}

/** A terminal's settings, to put back. */
export type Termios = Buffer;

/** @throws Error when the descriptor is no terminal. */
export function getTermios(fd: number): Termios {
  const termios = Buffer.alloc(TERMIOS_SIZE);
  if (libc().tcgetattr(fd, termios) !== 0) throw new Error(`terminal settings: ${libc().reason()}`);
  return termios;
}

/** @throws Error when the terminal is gone. */
export function setTermios(fd: number, termios: Termios): void {
  if (libc().tcsetattr(fd, TCSADRAIN, termios) !== 0) throw new Error(`terminal settings: ${libc().reason()}`);
}

/**
 * The same settings with every byte passed on as it is, both ways. (Node's own raw mode still translates output, which
 * garbles what a program writes that has turned that off in its own terminal.)
 */
export function rawTermios(termios: Termios): Termios {
  const raw = Buffer.from(termios);
  libc().cfmakeraw(raw);
  return raw;
}

/** The terminal's size in characters; undefined when it has none. */
export function windowSize(fd: number): { columns: number; rows: number } | undefined {
  const size = Buffer.alloc(WINSIZE_SIZE);
  if (libc().ioctl(fd, getWindowSize, "void *", size) !== 0) return undefined;
  const [rows, columns] = new Uint16Array(size.buffer, size.byteOffset, 2);
  return rows && columns ? { columns, rows } : undefined;
}
