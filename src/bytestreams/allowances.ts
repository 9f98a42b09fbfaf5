/** What users have of their limits now: streams, and the bytes of a quota that their streams share. */
import { type LimitsRow, type Period, startOfPeriod } from './access.ts';
import { requireRoom } from './activation.ts';

type Account = {
  streams: number;
  quota: { bytes: number; period: Period; startedAt: Date } | null;
};

export type Allowances = {
  /** @throws RejectError when the user has as many streams as are due */
  enter(user: string, limits: LimitsRow | null): void;
  /** Sets the quota of one whose first stream it is. @returns what is left; null when it is known already */
  open(
    user: string,
    quota: { bytes: number; period: Period; usedBytes: number },
    now: Date,
  ): number | null;
  /** @returns whether it was his last stream */
  leave(user: string): boolean;
  /** Users whose period has ended, and what they have in the new one. */
  renew(now: Date): { user: string; bytes: number }[];
};

export const createAllowances = (): Allowances => {
  const accounts = new Map<string, Account>();
  return {
    enter(user, limits) {
      const account = accounts.get(user) ?? { streams: 0, quota: null };
      requireRoom(limits, { streams: account.streams, usedBytes: 0 });
      account.streams += 1;
      accounts.set(user, account);
    },
    open(user, { bytes, period, usedBytes }, now) {
      const account = accounts.get(user);
      if (!account || account.quota) return null;
      account.quota = { bytes, period, startedAt: startOfPeriod(period, now) };
      return Math.max(0, bytes - usedBytes);
    },
    leave(user) {
      const account = accounts.get(user);
      if (!account) return false;
      account.streams -= 1;
      if (account.streams > 0) return false;
      accounts.delete(user);
      return true;
    },
    renew(now) {
      return [...accounts].flatMap(([user, { quota }]) => {
        if (!quota) return [];
        const startedAt = startOfPeriod(quota.period, now);
        if (startedAt <= quota.startedAt) return [];
        quota.startedAt = startedAt;
        return [{ user, bytes: quota.bytes }];
      });
    },
  };
};
