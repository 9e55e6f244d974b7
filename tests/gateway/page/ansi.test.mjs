import assert from 'node:assert/strict';
import { test } from 'node:test';

import { AnsiText } from '../../../ars_gateway/web/ansi.js';

function shown(...pieces) {
  const text = new AnsiText();
  for (const piece of pieces) text.feed(piece);
  return text;
}

const runs = (text, line = 0) => text.lines[line].runs.map((run) => [run.text, run.style]);

test('lines end at newlines and grow at their end', () => {
  assert.equal(shown('one\ntwo', ' more\n').plain(), 'one\ntwo more\n');
});

test('a carriage return writes over the line, as progress does', () => {
  assert.equal(shown('10%\r20%\r100%').plain(), '100%');
  assert.equal(shown('abcdef\rxy').plain(), 'xycdef');
  assert.equal(shown('abcdef\r\x1b[Kxy').plain(), 'xy');
  assert.equal(shown('one\r\ntwo\r\n').plain(), 'one\ntwo\n');
  assert.equal(shown('abc\b\bX').plain(), 'aXc');
});

test('colours and weights become class names, and end where they are ended', () => {
  assert.deepEqual(runs(shown('a\x1b[1;31mred\x1b[0mb')), [['a', ''], ['red', 'ansi-bold ansi-fg-1'], ['b', '']]);
  assert.deepEqual(runs(shown('\x1b[32mok\x1b[39m.')), [['ok', 'ansi-fg-2'], ['.', '']]);
  assert.deepEqual(runs(shown('\x1b[4;97;44mx\x1b[m')), [['x', 'ansi-underline ansi-bg-4']]);
  assert.deepEqual(runs(shown('\x1b[7mx')), [['x', 'ansi-bg-text']]);
});

test('colours of 256 and of all are shown as the nearest of sixteen', () => {
  assert.deepEqual(runs(shown('\x1b[38;5;9mx')), [['x', 'ansi-fg-9']]);
  assert.deepEqual(runs(shown('\x1b[38;5;196mx')), [['x', 'ansi-fg-9']]);
  assert.deepEqual(runs(shown('\x1b[38;2;0;150;0mx')), [['x', 'ansi-fg-2']]);
  assert.deepEqual(runs(shown('\x1b[38;5;999mx\x1b[38;2;1mz')), [['xz', '']]);
  assert.deepEqual(runs(shown('\x1b[38;5;1;4mx')), [['x', 'ansi-underline ansi-fg-1']]);
});

test('a sequence that is cut in two is still one', () => {
  for (let at = 1; at < 7; at += 1) {
    const whole = 'a\x1b[1;31mb';
    assert.deepEqual(runs(shown(whole.slice(0, at), whole.slice(at))), [['a', ''], ['b', 'ansi-bold ansi-fg-1']], `at ${at}`);
  }
});

test('titles, links, clipboards, queries and moves upwards leave nothing behind', () => {
  const hostile = ['\x1b]0;title\x07', '\x1b]52;c;ZWNobw==\x1b\\', '\x1b[2A', '\x1b[6n', '\x1bc', '\x1b(B', '\x1bP1$r\x1b\\', '\x1b[?1049h', '\x9b31m\x9b0m', '\x07', '\0'];
  for (const one of hostile) assert.equal(shown(`a${one}b`).plain(), 'ab', JSON.stringify(one));
});

test('an escape that never ends is not kept for ever, nor what follows it', () => {
  const text = shown(`a\x1b]0;${'x'.repeat(10_000)}`, 'b');
  assert.ok(text.plain().endsWith('b'));
  assert.ok(!text.plain().includes('\x1b'));
});

test('lines are bounded in number and in length, and it is known how many are gone', () => {
  const many = shown('x\n'.repeat(25_000));
  assert.ok(many.lines.length <= 10_000);
  assert.equal(many.dropped + many.lines.length, 25_001);
  const long = shown('y'.repeat(100_000));
  assert.equal(long.plain().replaceAll('\n', '').length, 100_000);
  assert.ok(Math.max(...long.lines.map((line) => line.length)) <= 8_000);
});

test('feed tells from which line on it has changed', () => {
  const text = new AnsiText();
  assert.equal(text.feed('a\nb\nc'), 0);
  assert.equal(text.feed('d\n'), 2);
  assert.equal(text.feed('e'), 3);
});
