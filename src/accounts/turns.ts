/** Logins in their turn, so that a start with a thousand accounts does not look like an attack. */

const AT_ONCE = 10;
const AT_ONCE_PER_HOST = 5;

type Waiting = { host: string; admit: () => void };

export const createTurns = () => {
  let waiting: Waiting[] = [];
  let inside: string[] = [];

  const admitNext = () => {
    if (inside.length >= AT_ONCE) return;
    const isFull = (host: string) =>
      inside.filter((other) => other === host).length >= AT_ONCE_PER_HOST;
    const next = waiting.find(({ host }) => !isFull(host));
    if (!next) return;
    waiting = waiting.filter((other) => other !== next);
    inside.push(next.host);
    next.admit();
    admitNext();
  };

  return {
    /** Waits for a turn. @returns what ends it */
    async enter(host: string): Promise<() => void> {
      const admitted = Promise.withResolvers<void>();
      waiting.push({ host, admit: admitted.resolve });
      admitNext();
      await admitted.promise;
      return () => {
        const at = inside.indexOf(host);
        if (at >= 0) inside.splice(at, 1);
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
