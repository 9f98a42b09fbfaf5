/** Which reports on sent messages are to be believed: those that come from whom the message went to. */
import { parseFragment } from '../xmpp/wire/fragment.ts';
import { readBareJid } from '../xmpp/wire/jid.ts';
import type { Finding, Reported } from './received/store.ts';
import type { RowKey } from './stanzaId.ts';
import type { Report } from './stanzas.ts';

/** A report whose id led to a row, as one account received it. */
export type ClaimedReport = Report & { key: RowKey; accountId: number };

/** The recipient of a row; that of its own stanza stands in it, as it was parsed when it was sent. */
const recipientOf = ({ to, stanza }: Reported): string | null => {
  if (stanza === null) return to;
  try {
    return parseFragment(stanza, { maxStanzaBytes: stanza.length * 4 }).attrs.to ?? null;
  } catch {
    return null;
  }
};

const isFromRecipient = (report: ClaimedReport, row: Reported): boolean => {
  const from = readBareJid(report.from?.trim());
  const to = readBareJid(recipientOf(row)?.trim());
  return from !== null && from === to;
};

/** @returns what to write, and the accounts that got reports which are not believed */
export const judgeReports = (
  reports: ClaimedReport[],
  rows: Reported[],
): { findings: Finding[]; spoofed: number[] } => {
  const byId = new Map(rows.map((row) => [row.id, row]));
  const findings: Finding[] = [];
  const spoofed: number[] = [];
  for (const report of reports) {
    const row = byId.get(report.key.id);
    // A room shows old messages of ours, too, whose rows may be gone.
    if (!row && report.kind === 'submitted') continue;
    const isOwn = row && (row.accountId === null || row.accountId === report.accountId);
    if (!row || !isOwn || !isFromRecipient(report, row)) {
      spoofed.push(report.accountId);
      continue;
    }
    findings.push({
      ...report.key,
      kind: report.kind,
      info: report.kind === 'failed' ? report.stanza : null,
      accountId: report.accountId,
      stanzaId: report.id,
      error: report.error,
    });
  }
  return { findings: keepStrongest(findings), spoofed };
};

const STRENGTH = { failed: 0, submitted: 1, delivered: 2, displayed: 3 };

/** One finding a row, since a statement updates a row once. */
const keepStrongest = (findings: Finding[]): Finding[] => {
  const strongest = new Map<number, Finding>();
  for (const finding of findings) {
    const known = strongest.get(finding.id);
    if (!known || STRENGTH[finding.kind] > STRENGTH[known.kind]) strongest.set(finding.id, finding);
  }
  return [...strongest.values()];
};
