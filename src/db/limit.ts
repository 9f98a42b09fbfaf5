/** So many at a time: who comes when all places are taken waits, first come first served. */

export type Limit = <T>(work: () => Promise<T>) => Promise<T>;

export const createLimit = (places: number): Limit => {
  let free = places;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((enter) => waiting.push(enter));
    try {
      return await work();
    } finally {
      // A place goes straight to the next one.
      const next = waiting.shift();
      if (next) next();
      else free += 1;
    }
  };
};
