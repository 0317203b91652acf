/** One line of the result: ours beside a peer, measured in the same run. */
export interface Row {
  name: string;
  unit: string;
  ours: number;
  /** What the peer is; "" when there is none to measure beside and the aim is absolute. */
  peerName: string;
  peer: number | null;
  /** ours / peer. */
  ratio: number | null;
  /** Where the middle half of what was measured lies: its first and third quartile. */
  spread?: { ours: Quartiles; peer: Quartiles };
  /** What is asked for, in words. */
  aim: string;
  met: boolean;
}

export type Quartiles = [number, number];

interface Measured {
  name: string;
  unit: string;
  ours: number;
  peer?: { name: string; value: number };
  spread?: { ours: Quartiles; peer: Quartiles };
  aim: string;
  /** Judges the measurement; `ratio` is NaN without a peer. */
  met: (ours: number, ratio: number) => boolean;
}

/** What is to be at most so much of the peer's. */
export function atMost(most: number): Pick<Measured, "aim" | "met"> {
  return { aim: `ratio <= ${most}`, met: (_, ratio) => ratio <= most };
}

/** Throws when it was not measured: a figure that is none. */
export function row({ name, unit, ours, peer, spread, aim, met }: Measured): Row {
  if (!Number.isFinite(ours)) throw new Error(`${name}: ours is ${ours}`);
  if (peer !== undefined && !(peer.value > 0)) throw new Error(`${name}: ${peer.name} is ${peer.value}`);
  const ratio = peer === undefined ? Number.NaN : ours / peer.value;
  return {
    name,
    unit,
    ours,
    peerName: peer?.name ?? "",
    peer: peer?.value ?? null,
    ratio: peer === undefined ? null : ratio,
    ...(spread && { spread }),
    aim,
    met: met(ours, ratio),
  };
}

/** The rows as a table for people; `heading`: with the names of the columns. */
export function table(rows: Row[], heading = true): string {
  const number = (value: number | null) =>
    value === null ? "" : Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2);
  const within = (quartiles: Quartiles | undefined) => (quartiles ? ` (${quartiles.map(number).join(" – ")})` : "");
  const lines = [
    ...(heading ? [["", "name", "ours", "peer", "ratio", "unit", "aim", "peer is"]] : []),
    ...rows.map((r) => [
      r.met ? "ok" : "--",
      r.name,
      `${number(r.ours)}${within(r.spread?.ours)}`,
      `${number(r.peer)}${within(r.spread?.peer)}`,
      number(r.ratio),
      r.unit,
      r.aim,
      r.peerName,
    ]),
  ];
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

export function median(values: number[]): number {
  return percentile(values, 50);
}

export function percentile(values: number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN;
}

export function quartiles(values: number[]): Quartiles {
  return [percentile(values, 25), percentile(values, 75)];
}

export function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
