import assert from 'node:assert/strict';
import { test } from 'node:test';

import { span, unanswered } from '../../../ars_gateway/web/asks.js';
import { bytes, millis, niceStep } from '../../../ars_gateway/web/plots.js';
import { isShown, logLine } from '../../../ars_gateway/web/state-logs.js';
import { exitOf } from '../../../ars_gateway/web/terminal.js';
import { statusOf } from '../../../ars_gateway/web/tool-card.js';

test('spans of time are short words', () => {
  assert.deepEqual([0, 999, 59_400, 60_000, 3_599_000, 3_600_000, 7_380_000, 259_200_000].map(span), ['0 s', '1 s', '59 s', '1:00', '59:59', '1 h 0 min', '2 h 3 min', '3 days']);
  assert.equal(span(-5), '0 s');
});

test('axes have round steps, and amounts their units', () => {
  assert.deepEqual([0.03, 0.7, 1, 3, 17, 49, 51, 1_234].map(niceStep), [0.05, 1, 1, 5, 20, 50, 100, 2_000]);
  assert.deepEqual([0, 999, 1_500, 81_600_000, 250_000_000, 3e12].map(bytes), ['0 B', '999 B', '1.5 KB', '81.6 MB', '250 MB', '3 TB']);
  assert.deepEqual([0, 0.4321, 2, 12.6, 999, 1_500, 60_000].map(millis), ['0 ms', '0.43 ms', '2 ms', '13 ms', '999 ms', '1.5 s', '60 s']);
});

test('a line of the log is taken apart, one that is no JSON is kept', () => {
  const line = logLine('{"timestamp":"2026-01-01T10:00:00Z","level":"warning","event":"auth.failed","address":"::1","n":3}');
  assert.deepEqual([line.at, line.level, line.event, line.rest], ['2026-01-01T10:00:00Z', 'warning', 'auth.failed', 'address=::1 n=3']);
  for (const odd of ['no json', 'null', '"text"', '[']) assert.equal(logLine(odd).rest, odd);
});

test('the log is sifted by level and by words', () => {
  const line = logLine('{"level":"warning","event":"auth.failed"}');
  assert.ok(isShown(line, 'info', ['auth', 'failed']));
  assert.ok(!isShown(line, 'error', []));
  assert.ok(!isShown(line, 'debug', ['auth', 'other']));
  assert.ok(isShown(logLine('{"level":"notice"}'), 'error', []), 'what nobody knows is shown');
});

test('how a command ended is said, where it is known', () => {
  assert.deepEqual(exitOf({ exitCode: 0, signal: null, timedOut: false }), { text: 'exit 0', good: true });
  assert.deepEqual(exitOf({ exitCode: 2 }), { text: 'exit 2', good: false });
  assert.deepEqual(exitOf({ exitCode: null, signal: 'SIGKILL' }), { text: 'killed by SIGKILL', good: false });
  assert.equal(exitOf({ timedOut: true, exitCode: null }).text, 'time was up');
  for (const nothing of [null, undefined, 'text', {}, { exitCode: '0' }]) assert.equal(exitOf(nothing), null);
});

test('what a tool call is at follows from it and from its questions', () => {
  const status = (call, more = {}) => statusOf({ call, ...more }).name;
  const asked = { type: 'question', answer: null };
  assert.equal(status({ status: 'in_progress' }, { asks: [asked] }), 'waiting');
  assert.equal(status({ status: 'in_progress' }, { asks: [{ ...asked, lapsed: true }], over: true }), 'stopped');
  assert.equal(status({ status: 'failed' }, { asks: [{ ...asked, answer: { decision: 'deny' } }] }), 'denied');
  assert.equal(status({ status: 'failed' }, { asks: [{ ...asked, answer: { decision: 'allow-once' } }] }), 'failed');
  assert.equal(status({ status: 'completed' }, { over: true }), 'done');
  assert.equal(status({ status: 'pending' }, { hand: { done: false } }), 'running');
  assert.equal(status({ status: 'pending' }), 'pending');
});

test('a question that nobody answered ran out of time, or was withdrawn before', () => {
  assert.match(unanswered({ expiresAtMs: 5_000 }, { ts: 5_010 }), /in time/);
  assert.match(unanswered({ expiresAtMs: 50_000 }, { ts: 5_010 }), /Withdrawn/);
});
