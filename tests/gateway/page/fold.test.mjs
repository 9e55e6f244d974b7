import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Chat } from '../../../ars_gateway/web/fold.js';

const types = (chat) => chat.turns.map((turn) => turn.items.map((item) => item.type));
const entry = (kind, data, run = 'r1', n = undefined) => ({ kind, data, run, n });
const call = (toolCallId, more = {}) => entry('update', { sessionUpdate: 'tool_call', toolCallId, title: 'A tool', ...more });

test('pieces that follow each other are one message, and a tool call ends it', () => {
  const chat = new Chat('k');
  chat.take([entry('prompt', { text: 'hi' }), entry('thought', 'a'), entry('text', 'b'), entry('text', 'c'), call('t1')]);
  chat.take([entry('text', 'd')]);
  assert.deepEqual(types(chat), [['prompt', 'thought', 'text', 'tool', 'text']]);
  const [, thought, text, , later] = chat.turns[0].items;
  assert.deepEqual([thought.done, text.pieces, text.done, later.done], [true, ['b', 'c'], true, false]);
});

test('entries that were taken are not taken again', () => {
  const chat = new Chat('k');
  chat.take([entry('text', 'a', 'r1', 1), entry('text', 'b', 'r1', 2)]);
  chat.take([entry('text', 'b', 'r1', 2), entry('text', 'c', 'r1', 3)]);
  assert.deepEqual(chat.turns[0].items[0].pieces, ['a', 'b', 'c']);
  assert.equal(chat.last, 3);
});

test('a prompt that waits stands behind the turn that goes on', () => {
  const chat = new Chat('k');
  chat.take([entry('prompt', { text: 'one' }), entry('prompt', { text: 'two' }, 'r2'), entry('text', 'first')]);
  assert.deepEqual(types(chat), [['prompt', 'text'], ['prompt']]);
  assert.deepEqual(chat.open.map((turn) => turn.run), ['r1', 'r2']);
  chat.take([entry('end', { state: 'ok' }), entry('text', 'second', 'r2')]);
  assert.deepEqual(chat.open.map((turn) => turn.run), ['r2']);
  assert.deepEqual(types(chat), [['prompt', 'text'], ['prompt', 'text']]);
});

test('updates of a tool call are merged, and what it shows is replaced', () => {
  const chat = new Chat('k');
  chat.take([call('t1', { status: 'pending', kind: 'edit', content: [{ type: 'diff', path: 'a' }] })]);
  const [item] = chat.turns[0].items;
  const before = item.rev;
  chat.take([entry('update', { sessionUpdate: 'tool_call_update', toolCallId: 't1', status: 'completed', content: [] })]);
  assert.deepEqual([item.call.status, item.call.kind, item.call.content], ['completed', 'edit', []]);
  assert.ok(item.rev > before);
  assert.ok(chat.takeChanged().has(item));
  assert.equal(chat.takeChanged().size, 0);
});

test('output of a terminal changes the tool that shows it, whichever comes first', () => {
  const chat = new Chat('k');
  chat.take([entry('terminal', { terminalId: 'x', data: 'early ' }), call('t1', { content: [{ type: 'terminal', terminalId: 'x' }] })]);
  const item = chat.turns[0].items[0];
  const before = item.rev;
  chat.take([entry('terminal', { terminalId: 'x', data: 'late' })]);
  assert.ok(item.rev > before);
  assert.deepEqual(chat.terminals.get('x').chunks, ['early ', 'late']);
});

test('a terminal keeps its end', () => {
  const chat = new Chat('k');
  for (let count = 0; count < 100; count += 1) chat.take([entry('terminal', { terminalId: 'x', data: 'x'.repeat(10_000) })]);
  const terminal = chat.terminals.get('x');
  assert.ok(terminal.dropped && terminal.size <= 512 * 1024);
});

test('a question about a tool call stands in its card, an answer closes it, a run that ends lets it lapse', () => {
  const about = (id, toolCallId) => ({ id, request: { _ars: { toolCallId } } });
  const chat = new Chat('k');
  chat.take([call('t1'), entry('question', about('q1', 't1')), entry('question', about('q2', 'none'))]);
  assert.deepEqual(types(chat), [['tool', 'question']]);
  assert.deepEqual(chat.waiting.map((ask) => ask.payload.id), ['q1', 'q2']);
  chat.take([entry('answered', { id: 'q1', decision: 'deny' })]);
  assert.equal(chat.turns[0].items[0].asks[0].answer.decision, 'deny');
  chat.take([entry('end', { state: 'aborted' })]);
  assert.deepEqual(chat.waiting, []);
  assert.equal(chat.turns[0].items[1].lapsed, true);
});

test('a form that came before its tool call moves into its card', () => {
  const chat = new Chat('k');
  chat.take([entry('form', { id: 'f1', toolCallId: 't1' }), call('t1')]);
  assert.deepEqual(types(chat), [['tool']]);
  assert.equal(chat.turns[0].items[0].asks[0].payload.id, 'f1');
});

test('what came before is put in front, a turn that was cut in two is one again', () => {
  const chat = new Chat('k');
  chat.take([entry('text', 'end', 'r2'), entry('end', { state: 'ok' }, 'r2')]);
  chat.prepend([entry('prompt', { text: 'a' }, 'r1'), entry('end', { state: 'ok' }, 'r1'), entry('prompt', { text: 'b' }, 'r2')]);
  assert.deepEqual(chat.turns.map((turn) => turn.run), ['r1', 'r2']);
  assert.deepEqual(types(chat), [['prompt'], ['prompt', 'text']]);
  chat.prepend([]);
  assert.equal(chat.running, false);
});

test('runs that are known to be over are over', () => {
  const chat = new Chat('k');
  chat.take([entry('prompt', { text: 'a' }, 'r1'), entry('prompt', { text: 'b' }, 'r2')]);
  chat.settle([{ runId: 'r2' }]);
  assert.deepEqual(chat.open.map((turn) => turn.run), ['r2']);
});

test('entries of kinds that are not known do no harm', () => {
  const chat = new Chat('k');
  chat.take([entry('later', { x: 1 }), entry('update', { sessionUpdate: 'new' }), entry('text', 'a', null)]);
  assert.deepEqual(types(chat), [['text']]);
});

test('the plan is that of the turn that goes on, else of the last one', () => {
  const plan = (content, run) => entry('update', { sessionUpdate: 'plan', entries: [{ content }] }, run);
  const chat = new Chat('k');
  chat.take([entry('prompt', { text: 'a' }), plan('one', 'r1'), entry('prompt', { text: 'b' }, 'r2')]);
  assert.deepEqual(chat.plan, [{ content: 'one' }]);
  chat.take([entry('end', { state: 'ok' })]);
  assert.deepEqual(chat.plan, []);
  chat.take([plan('two', 'r2'), entry('end', { state: 'ok' }, 'r2')]);
  assert.deepEqual(chat.plan, [{ content: 'two' }]);
});
