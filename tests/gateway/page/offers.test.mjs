import assert from 'node:assert/strict';
import { test } from 'node:test';

import { offersOf, pickedOf } from '../../../ars_gateway/web/offers.js';

const option = (optionId, kind, name = optionId) => ({ optionId, kind, name });
const told = (options) => offersOf(options).map(({ name, key }) => `${key} ${name}`);

test('where nobody says what is offered, it is to allow once and to deny', () => {
  assert.deepEqual(told(undefined), ['n Deny', 'y Allow once']);
  assert.deepEqual(offersOf([]).map((one) => one.decision), ['deny', 'allow-once']);
});

test('refusals come first, what allows it this once comes last, and each has its letter', () => {
  const offers = [option('a', 'allow_always', 'For good'), option('b', 'allow_once', 'Now'), option('c', 'reject_once', 'No')];
  assert.deepEqual(told(offers), ['n No', 'A For good', 'y Now']);
});

test('several of one kind are all offered, in the order of the agent, by numbers and by no decision', () => {
  const offers = [option('x', 'allow_always', 'In this folder'), option('y', 'allow_always', 'Everywhere'), option('n', 'reject_once', 'No')];
  assert.deepEqual(told(offers), ['n No', '2 In this folder', '3 Everywhere']);
  assert.deepEqual(offersOf(offers).map((one) => one.decision), ['deny', undefined, undefined]);
});

test('kinds that are not known are offered, and never by a letter', () => {
  assert.deepEqual(told([option('z', 'ask_my_boss', 'Ask\u202eits'), option('r', 'reject_always')]), ['1 r', '2 Ask\\u202eits']);
});

test('an answer is found by its option, else by its decision where that means one', () => {
  const offers = offersOf([option('x', 'allow_once', 'As it is'), option('y', 'allow_once', 'Changed'), option('n', 'reject_once', 'No')]);
  assert.equal(pickedOf(offers, { decision: 'allow-once', _ars: { optionId: 'y' } }).name, 'Changed');
  assert.equal(pickedOf(offers, { decision: 'allow-once' }), undefined);
  assert.equal(pickedOf(offers, { decision: 'deny' }).name, 'No');
  assert.equal(pickedOf(offers, { decision: null }), undefined);
});
