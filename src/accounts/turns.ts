/** Logins in their turn, so that a start with a thousand accounts does not look like an attack. */

const AT_ONCE = 10;
const AT_ONCE_PER_HOST = 5;

type Turn = { host: string; admit: () => void };

export const createTurns = () => {
  let waiting: Turn[] = [];
  let inside: Turn[] = [];

  const admitNext = () => {
    if (inside.length >= AT_ONCE) return;
    const isFull = (host: string) =>
      inside.filter((other) => other.host === host).length >= AT_ONCE_PER_HOST;
    const next = waiting.find(({ host }) => !isFull(host));
    if (!next) return;
    waiting = waiting.filter((other) => other !== next);
    inside.push(next);
    next.admit();
    admitNext();
  };

  return {
    /** Waits for a turn. @returns what ends it */
    async enter(host: string): Promise<() => void> {
      const admitted = Promise.withResolvers<void>();
      const turn = { host, admit: admitted.resolve };
      waiting.push(turn);
      admitNext();
      await admitted.promise;
      return () => {
        inside = inside.filter((other) => other !== turn);
        admitNext();
      };
    },
    /** Nobody who waits is wanted any more. */
    clear(): void {
      for (const { admit } of waiting) admit();
      waiting = [];
      inside = [];
    },
  };
};
