/** What may never be asked for again: a set that forgets its oldest. */
export type Recent<Key> = {
  add(key: Key): void;
  /** @returns whether it was there; it is no longer */
  take(key: Key): boolean;
};

export const createRecent = <Key>(most: number): Recent<Key> => {
  const keys = new Set<Key>();
  return {
    add(key) {
      keys.add(key);
      const [oldest] = keys;
      if (keys.size > most && oldest !== undefined) keys.delete(oldest);
    },
    take: (key) => keys.delete(key),
  };
};
