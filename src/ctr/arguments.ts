/** @throws Error `<what> cannot be empty` */
export function required(value: string | undefined, what: string): string {
  if (value === undefined || value === "") throw new Error(`${what} cannot be empty`);
  return value;
}
