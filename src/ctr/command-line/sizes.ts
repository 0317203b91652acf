/** What Go's ParseUint takes with base 0: decimal, 0x, 0b, 0o and a leading 0 for octal. @throws Error that names the flag */
export function parseNumber(text: string, flag: string): bigint {
  const valid = /^(0x[\da-f]+|0b[01]+|0o[0-7]+|0[0-7]*|[1-9]\d*)$/i.test(text);
  const value = valid ? BigInt(/^0\d/.test(text) ? `0o${text}` : text.toLowerCase()) : -1n;
  if (value < 0n || value >= 2n ** 64n) throw new Error(`invalid number "${text}" for --${flag}`);
  return value;
}

/** Bytes: a number as above, or a decimal one with a unit (64m, 1.5GiB), which are powers of 1024 as for Docker's flags. */
export function parseSize(text: string, flag: string): bigint {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)([kmgt])(?:i?b)?$/i.exec(text) ?? [];
  if (amount === undefined) return parseNumber(text.replace(/^(\d+)b$/i, "$1"), flag);
  const factor = 1024 ** ("kmgt".indexOf(unit!.toLowerCase()) + 1);
  const bytes = Math.round(Number(amount) * factor);
  if (!Number.isSafeInteger(bytes)) throw new Error(`invalid number "${text}" for --${flag}`);
  return BigInt(bytes);
}
