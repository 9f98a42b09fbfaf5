/** The open links of a queue with their rows in memory: what its reader fills and its writer settles. */
import type { LinkBuffer, QueueRow } from './linkBuffer.ts';

export type OpenLink<Row extends QueueRow> = {
  id: number;
  buffer: LinkBuffer<Row>;
  /** Whether it has asked for rows that are still in the table. */
  isHungry: boolean;
  /** Rows whose next try came before this have been told, in milliseconds. */
  toldAt: number;
  unsettled: number;
  onRows: () => void;
};

export type QueueLinks<Row extends QueueRow> = {
  open: Map<number, OpenLink<Row>>;
  /** Which open link sends the rows that name none; null for no one. */
  defaultId: number | null;
  /** Links that are not open and whose rows have yet to be told so. */
  unlinked: Set<number | null>;
};

/** @param linkId the one that a row names; null for the default one */
export const findLink = <Row extends QueueRow>(
  { open, defaultId }: QueueLinks<Row>,
  linkId: number | null,
): OpenLink<Row> | undefined => open.get(linkId ?? defaultId ?? Number.NaN);

/** Drops rows that were not taken; what waited behind them may go now. */
export const dropRows = <Row extends QueueRow>(
  link: OpenLink<Row>,
  isGone: (id: number) => boolean,
): void => {
  if (link.buffer.drop(isGone)) link.onRows();
};
