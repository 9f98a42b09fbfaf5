/** The parts that every account has. */
import type { KindParts, PartKind } from './part.ts';

export const createKinds = (_parts: KindParts): PartKind[] => [];
