import assert from 'node:assert/strict';
import { test } from 'node:test';

import { check, checkAll, fieldsOf } from '../../../ars_gateway/web/fields.js';
import { busy } from './busy.mjs';

const field = (schema, required = true) => fieldsOf({ properties: { x: schema }, required: required ? ['x'] : [] })[0];
const answer = (schema, raw, required = true) => check(field(schema, required), raw);
const refused = (schema, raw) => assert.ok(answer(schema, raw).error, `${JSON.stringify(raw)} was let through`);

test('each type of field is asked for by what fits it', () => {
  const kind = (schema) => field(schema).kind;
  const options = (count) => Array.from({ length: count }, (_, at) => ({ const: `${at}`, title: `${at}` }));
  assert.equal(kind({ type: 'string' }), 'text');
  assert.equal(kind({ type: 'string', maxLength: 20 }), 'line');
  assert.equal(kind({ type: 'string', format: 'email' }), 'line');
  assert.equal(kind({ type: 'string', enum: ['a', 'b'] }), 'radio');
  assert.equal(kind({ type: 'string', oneOf: options(30) }), 'select');
  assert.equal(kind({ type: 'array', items: { anyOf: options(3) } }), 'several');
  assert.equal(kind({ type: 'boolean' }), 'boolean');
  assert.equal(kind({ type: 'integer' }), 'integer');
  assert.equal(kind({ type: 'number' }), 'number');
  assert.equal(kind({ type: 'colour' }), 'unknown');
  assert.equal(kind(null), 'unknown');
});

test('what need not be answered may be left out, what must may not', () => {
  for (const schema of [{ type: 'string' }, { type: 'integer' }, { type: 'boolean' }, { type: 'string', enum: ['a'] }]) {
    const empty = schema.type === 'boolean' ? null : '';
    assert.deepEqual(answer(schema, empty, false), { skip: true });
    refused(schema, empty);
  }
  assert.deepEqual(answer({ type: 'boolean' }, false), { value: false });
});

test('numbers are numbers, whole ones whole, within their limits', () => {
  assert.deepEqual(answer({ type: 'integer' }, ' 12 '), { value: 12 });
  assert.deepEqual(answer({ type: 'number' }, '1,5'), { value: 1.5 });
  for (const raw of ['1.5', 'x', '1e400', '9007199254740993', '--1']) refused({ type: 'integer' }, raw);
  refused({ type: 'integer', minimum: 1 }, '0');
  refused({ type: 'number', maximum: 1 }, '1.01');
  assert.deepEqual(answer({ type: 'integer', minimum: 0, maximum: 0 }, '0'), { value: 0 });
});

test('texts keep to their lengths, counted in characters, and to their formats', () => {
  assert.deepEqual(answer({ type: 'string', maxLength: 2 }, '😀😀'), { value: '😀😀' });
  refused({ type: 'string', maxLength: 2 }, 'abc');
  refused({ type: 'string', minLength: 3 }, 'ab');
  refused({ type: 'string', format: 'email' }, 'nobody');
  assert.deepEqual(answer({ type: 'string', format: 'email' }, ' a@b.c '), { value: 'a@b.c' });
  refused({ type: 'string', format: 'uri' }, 'not an address');
  assert.deepEqual(answer({ type: 'string', format: 'uri' }, 'https://a.b/c'), { value: 'https://a.b/c' });
  refused({ type: 'string', format: 'date' }, '2025-02-30');
  assert.deepEqual(answer({ type: 'string', format: 'date' }, '2024-02-29'), { value: '2024-02-29' });
  assert.deepEqual(answer({ type: 'string', format: 'date-time' }, '2025-01-31T10:00:00Z'), { value: '2025-01-31T10:00:00.000Z' });
  refused({ type: 'string', format: 'date-time' }, 'tomorrow');
  assert.deepEqual(answer({ type: 'string' }, ' kept as it is\n'), { value: ' kept as it is\n' });
});

test('a pattern is looked at, unless it is none or could take forever', () => {
  refused({ type: 'string', pattern: '^[a-z]+$' }, 'A1');
  assert.deepEqual(answer({ type: 'string', pattern: '(' }, 'x'), { value: 'x' });
  const took = busy(() => {
    for (const pattern of ['^(a+)+$', '^(a|a)*$', '^(a*)*$', '^(a|aa)+$']) {
      assert.deepEqual(answer({ type: 'string', pattern }, `${'a'.repeat(40)}!`), { value: `${'a'.repeat(40)}!` });
    }
  });
  assert.ok(took < 1_000);
});

test('one of several, and several of several, are of those that were offered', () => {
  const one = { type: 'string', oneOf: [{ const: 'a', title: 'A' }, { const: 'b', title: 'B' }] };
  assert.deepEqual(answer(one, 'b'), { value: 'b' });
  refused(one, 'c');
  const some = { type: 'array', items: { enum: ['a', 'b', 'c'], type: 'string' }, minItems: 1, maxItems: 2 };
  assert.deepEqual(answer(some, ['c', 'a', 'z']), { value: ['a', 'c'] });
  refused(some, []);
  refused(some, ['a', 'b', 'c']);
  assert.deepEqual(answer({ ...some, minItems: 0 }, []), { value: [] });
  assert.deepEqual(answer(some, [], false), { skip: true });
});

test('a whole form has its content, or what is wrong with each field', () => {
  const fields = fieldsOf({
    properties: { name: { type: 'string', title: 'Name' }, age: { type: 'integer', minimum: 0 }, note: { type: 'string' } },
    required: ['name', 'age'],
  });
  assert.deepEqual(checkAll(fields, { name: 'Ann', age: '7', note: '' }).content, { name: 'Ann', age: 7 });
  const wrong = checkAll(fields, { name: '', age: '-1', note: 'x' });
  assert.equal(wrong.content, null);
  assert.deepEqual([...wrong.errors.keys()], ['name', 'age']);
});

test('names of fields are only names', () => {
  const properties = JSON.parse('{"__proto__": {"type": "string"}, "constructor": {"type": "string"}}');
  const { content } = checkAll(fieldsOf({ properties }), JSON.parse('{"__proto__": "a", "constructor": "b"}'));
  assert.deepEqual(Object.entries(content), [['__proto__', 'a'], ['constructor', 'b']]);
});
