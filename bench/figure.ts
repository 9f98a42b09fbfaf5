/** What a benchmark prints: a figure, what it is compared with, and what is wanted of it. */

/** What is wanted, of the ratio to the baseline or of the value itself. */
export type Wanted = { of: 'ratio' | 'value'; limit: 'at least' | 'at most'; amount: number };

export type Figure = {
  figure: string;
  value: number;
  unit: string;
  /** What it is compared with; null when it stands for itself. */
  baseline: string | null;
  baselineValue: number | null;
  ratio: number | null;
  wanted: Wanted;
};

export const median = (numbers: number[]): number => quantile(numbers, 0.5);

/** @param share such as 0.99; NaN of no numbers */
export const quantile = (numbers: number[], share: number): number => {
  const sorted = numbers.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
};

export const atLeast = (of: Wanted['of'], amount: number): Wanted => ({
  of,
  limit: 'at least',
  amount,
});

export const atMost = (of: Wanted['of'], amount: number): Wanted => ({
  of,
  limit: 'at most',
  amount,
});

/** A figure that stands for itself. */
export const absolute = (figure: string, value: number, unit: string, wanted: Wanted): Figure => ({
  figure,
  value,
  unit,
  baseline: null,
  baselineValue: null,
  ratio: null,
  wanted,
});

/** Numbers measured in the same rounds: ours and the baseline's, in the same order. */
export type Rounds = { ours: number[]; baseline: number[] };

/** A figure beside another; the ratio is the median of the rounds' own, so that slow rounds cancel out. */
export const compared = (
  figure: string,
  unit: string,
  baseline: string,
  rounds: Rounds,
  wanted: Wanted,
): Figure => ({
  figure,
  value: median(rounds.ours),
  unit,
  baseline,
  baselineValue: median(rounds.baseline),
  ratio: median(rounds.ours.map((number, at) => number / (rounds.baseline[at] ?? Number.NaN))),
  wanted,
});

export const isMet = ({ value, ratio, wanted }: Figure): boolean => {
  const measured = wanted.of === 'ratio' ? (ratio ?? Number.NaN) : value;
  return wanted.limit === 'at least' ? measured >= wanted.amount : measured <= wanted.amount;
};

const formatNumber = (number: number | null): string => {
  if (number === null) return '';
  if (Math.abs(number) >= 100) return Math.round(number).toLocaleString('en');
  return number.toPrecision(3);
};

const formatWanted = ({ of, limit, amount }: Wanted, unit: string): string =>
  `${limit === 'at least' ? '≥' : '≤'} ${amount}${of === 'value' ? ` ${unit}` : ''}`;

/** A row of the table people read; the columns are named by the keys. */
export const describeFigure = (figure: Figure): Record<string, string> => ({
  figure: figure.figure,
  value: formatNumber(figure.value),
  unit: figure.unit,
  baseline: figure.baseline ?? '',
  'baseline value': formatNumber(figure.baselineValue),
  ratio: formatNumber(figure.ratio),
  wanted: formatWanted(figure.wanted, figure.unit),
  met: isMet(figure) ? 'yes' : 'no',
});

/** One line of JSON. */
export const formatFigure = (bench: string, figure: Figure): string => {
  const { wanted: _wanted, ...rest } = figure;
  return JSON.stringify({ bench, ...rest });
};
