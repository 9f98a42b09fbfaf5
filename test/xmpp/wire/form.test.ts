import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Form,
  type FormField,
  formatForm,
  formatSubmit,
  formTypeOf,
  readForm,
  readValue,
  readValues,
} from '../../../src/xmpp/wire/form.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { xepExamples } from '../../fixtures/xeps.ts';
import { assertSameXml, legalText, payloadOf, plainRecord } from '../../support/xmlTree.ts';

const formIn = (stanza: string): Form => {
  const form = readForm(payloadOf(stanza).getChild('x'));
  assert.ok(form);
  return form;
};
const read = (content: string, type = 'form') =>
  readForm(parseFragment(`<x xmlns='jabber:x:data' type='${type}'>${content}</x>`));

test('a form is read with its fields and options (XEP-0004, example 2)', () => {
  const form = formIn(xepExamples['0004-2']);
  assert.equal(form.type, 'form');
  assert.equal(form.title, 'Bot Configuration');
  assert.deepEqual(form.instructions, ['Fill out this form to configure your new bot!']);
  assert.equal(formTypeOf(form), 'jabber:bot');
  assert.deepEqual(form.fields[1], {
    var: null,
    type: 'fixed',
    label: null,
    desc: null,
    isRequired: false,
    options: [],
    values: ['Section 1: Bot Info'],
  });
  const features = form.fields.find((field) => field.var === 'features');
  assert.equal(features?.label, 'What features will the bot support?');
  assert.deepEqual(features?.values, ['news', 'search']);
  assert.deepEqual(features?.options[0], { label: 'Contests', value: 'contests' });
  const password = form.fields.find((field) => field.var === 'password');
  assert.deepEqual([password?.type, password?.isRequired], ['text-private', false]);
  assert.equal(form.fields.find((field) => field.var === 'botname')?.type, 'text-single');
  assert.ok(form.fields.some((field) => field.isRequired));
  assert.ok(form.fields.some((field) => field.desc !== null));
});

test('what is submitted is read by the names of its fields (XEP-0004, example 3)', () => {
  const form = formIn(xepExamples['0004-3']);
  assert.equal(readValue(form, 'botname'), 'The Jabber Google Bot');
  assert.equal(readValues(form, 'description').length, 4);
  assert.equal(readValue(form, 'none'), null);
  assert.deepEqual(readValues(form, 'none'), []);
  assert.equal(readValue(form, 'constructor'), null);
});

test('a table of results is read (XEP-0004, example 8)', () => {
  const form = formIn(xepExamples['0004-8']);
  assert.deepEqual(
    form.reported.map((field) => field.var),
    ['name', 'url'],
  );
  assert.equal(form.items.length, 5);
  assert.deepEqual(
    form.items[1]?.map((field) => field.values),
    [['benvenuto!'], ['http://www.hellasverona.it/']],
  );
  assert.deepEqual(form.fields, []);
});

test('forms are written as they were read', () => {
  for (const example of ['0004-3', '0004-8'] as const) {
    const x = payloadOf(xepExamples[example]).getChild('x');
    assertSameXml(formatForm(formIn(xepExamples[example])), x);
  }
  // Here the values stand behind the options, which says the same.
  const form = formIn(xepExamples['0004-2']);
  assert.deepEqual(readForm(parseFragment(formatForm(form))), form);
});

test('a form is submitted with a FORM_TYPE and without what has no value (XEP-0068)', () => {
  const written = formatSubmit('urn:x', { a: 'b', c: ['d', 'e'], f: true, g: 7, h: null, i: '' });
  assertSameXml(
    written,
    `<x xmlns='jabber:x:data' type='submit'>
      <field var='FORM_TYPE' type='hidden'><value>urn:x</value></field>
      <field var='a'><value>b</value></field>
      <field var='c'><value>d</value><value>e</value></field>
      <field var='f'><value>1</value></field>
      <field var='g'><value>7</value></field>
      <field var='i'><value/></field></x>`,
  );
});

test('a FORM_TYPE counts when it is hidden, or left untyped in what is submitted (XEP-0068 §5)', () => {
  const typeOf = (type: string, fieldType: string) => {
    const form = read(`<field var='FORM_TYPE'${fieldType}><value>a</value></field>`, type);
    return form && formTypeOf(form);
  };
  assert.equal(typeOf('form', " type='hidden'"), 'a');
  assert.equal(typeOf('result', " type='hidden'"), 'a');
  assert.equal(typeOf('submit', ''), 'a');
  assert.equal(typeOf('form', ''), null);
  assert.equal(typeOf('result', " type='text-single'"), null);
});

test('an unknown type of field is taken for text-single, an unknown type of form for no form', () => {
  assert.equal(read("<field var='a' type='b'/>")?.fields[0]?.type, 'text-single');
  assert.equal(read("<field var='a'/>")?.fields[0]?.type, null);
  for (const type of ['', 'FORM', 'toString']) assert.equal(read('', type), null);
  assert.equal(readForm(undefined), null);
  assert.equal(readForm(parseFragment("<x type='form'/>")), null);
  assert.equal(readForm(parseFragment("<y xmlns='jabber:x:data' type='form'/>")), null);
});

test('the lines of a text-multi become values of their own (XEP-0004 §3.3)', () => {
  const written = formatForm({
    type: 'submit',
    fields: [{ var: 'a', type: 'text-multi', values: ['b\r\nc\nd', 'e\rf'] }],
  });
  assert.deepEqual(readForm(parseFragment(written))?.fields[0]?.values, [...'bcdef']);
});

const field: fc.Arbitrary<FormField> = plainRecord({
  var: fc.option(legalText),
  type: fc.option(fc.constantFrom('boolean', 'hidden', 'list-multi', 'text-single')),
  label: fc.option(legalText),
  desc: fc.option(legalText),
  isRequired: fc.boolean(),
  options: fc.array(plainRecord({ label: fc.option(legalText), value: legalText }), {
    maxLength: 3,
  }),
  values: fc.array(legalText, { maxLength: 3 }),
});
const fields = fc.array(field, { maxLength: 4 });

test('any form is read as it was written', () => {
  const forms: fc.Arbitrary<Form> = plainRecord({
    type: fc.constantFrom('form', 'submit', 'cancel', 'result'),
    title: fc.option(legalText),
    instructions: fc.array(legalText, { maxLength: 2 }),
    fields,
    reported: fields,
    items: fc.array(fields, { maxLength: 3 }),
  });
  fc.assert(
    fc.property(forms, (form) => {
      assert.deepEqual(readForm(parseFragment(formatForm(form))), form);
    }),
  );
});
