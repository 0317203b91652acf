/** The command line; arg[0] is the program. */
declare const arg: { readonly [index: number]: string | undefined };

/**
 * What the shim uses of LuaJIT's FFI. Libc's own functions are declared where they are used, in syscalls/.
 * @noResolution
 */
declare module "ffi" {
  /** A C value: a pointer, an array or a struct. */
  export interface CData {
    readonly __cdata?: never;
  }
  /** A C array of integers; unlike a Lua table it counts from 0. */
  export interface CIntArray extends CData {
    [index: number]: number;
  }
  /** A C array of strings; the Lua strings put in must be kept alive by the caller. */
  export interface CStringArray extends CData {
    [index: number]: string;
  }
  export function cdef(this: void, declarations: string): void;
  /** Named `new` in Lua, which TypeScript only allows behind an alias. */
  function create(this: void, type: string, ...initial: unknown[]): CData;

  export { create as new };
  export function cast(this: void, type: string, value: unknown): CData;
  /** Of a string with the NUL at its end. */
  export function copy(this: void, target: CData, text: string): void;
  export function errno(this: void): number;
  export function sizeof(this: void, type: string): number;
  export function offsetof(this: void, type: string, field: string): number;
  export function string(this: void, data: CData, length?: number): string;
  export const C: unknown;
  export const arch: string;
}

/**
 * lua-cjson
 * @noResolution
 */
declare module "cjson" {
  export function decode(this: void, text: string): unknown;
  export function encode(this: void, value: unknown): string;
}

/** LuaJIT's: the next collection is due when memory has grown as "setpause" says. Without the -1 it begins at once. */
declare function collectgarbage(opt: "restart", pause: -1): void;
