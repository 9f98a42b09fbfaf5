/** Milliseconds of the machine's own clock, which all processes share, unlike `performance.now()`. */
export const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;
