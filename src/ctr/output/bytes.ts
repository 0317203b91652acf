const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** Three digits or so: "0 B", "1.5 KiB", "256 MiB". */
export function bytes(count: bigint | number): string {
  let value = Number(count);
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const text = unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1);
  return `${text} ${UNITS[unit]}`;
}
