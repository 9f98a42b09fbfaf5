/** Service discovery: what an entity is and can, and what there is at it (XEP-0030, XEP-0128). */
import type { Element } from '@xmpp/client';
import { dataNs, type Form, type FormDraft, formatForm, readForm } from './form.ts';
import { formatTag } from './tag.ts';

export const discoInfoNs = 'http://jabber.org/protocol/disco#info';
export const discoItemsNs = 'http://jabber.org/protocol/disco#items';

export type Identity = {
  category: string;
  type: string;
  lang: string | null;
  name: string | null;
};

export type DiscoInfo = {
  node: string | null;
  identities: Identity[];
  features: string[];
  /** What else is told, each by its FORM_TYPE (XEP-0128). */
  forms: Form[];
};

export type DiscoItem = { jid: string; node: string | null; name: string | null };
export type DiscoItems = { node: string | null; items: DiscoItem[] };

/** @returns null for what is no answer; identities and features without their names are skipped */
export const readDiscoInfo = (query: Element | null | undefined): DiscoInfo | null => {
  if (!query?.is('query', discoInfoNs)) return null;
  return {
    node: query.attrs.node ?? null,
    identities: query.getChildren('identity', discoInfoNs).flatMap(({ attrs }) => {
      const { category, type, name = null, 'xml:lang': lang = null } = attrs;
      return category && type ? [{ category, type, lang, name }] : [];
    }),
    features: query
      .getChildren('feature', discoInfoNs)
      .flatMap(({ attrs }) => (attrs.var ? [attrs.var] : [])),
    forms: query.getChildren('x', dataNs).flatMap((x) => readForm(x) ?? []),
  };
};

/** @param info its forms are of the type `result`, with a hidden FORM_TYPE */
export const formatDiscoInfo = (info: Omit<DiscoInfo, 'forms'> & { forms: FormDraft[] }): string =>
  formatTag(
    'query',
    { xmlns: discoInfoNs, node: info.node },
    info.identities
      .map(({ category, type, lang, name }) =>
        formatTag('identity', { category, type, 'xml:lang': lang, name }),
      )
      .join('') +
      info.features.map((feature) => formatTag('feature', { var: feature })).join('') +
      info.forms.map(formatForm).join(''),
  );

export const formatDiscoInfoQuery = (node: string | null): string =>
  formatTag('query', { xmlns: discoInfoNs, node });

/** @returns null for what is no answer; items without an address are skipped */
export const readDiscoItems = (query: Element | null | undefined): DiscoItems | null => {
  if (!query?.is('query', discoItemsNs)) return null;
  const items = query.getChildren('item', discoItemsNs).flatMap(({ attrs }) => {
    const { jid, node = null, name = null } = attrs;
    return jid ? [{ jid, node, name }] : [];
  });
  return { node: query.attrs.node ?? null, items };
};

export const formatDiscoItems = ({ node, items }: DiscoItems): string =>
  formatTag(
    'query',
    { xmlns: discoItemsNs, node },
    items.map((item) => formatTag('item', item)).join(''),
  );

export const formatDiscoItemsQuery = (node: string | null): string =>
  formatTag('query', { xmlns: discoItemsNs, node });
