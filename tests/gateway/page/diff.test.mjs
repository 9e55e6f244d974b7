import assert from 'node:assert/strict';
import { test } from 'node:test';

import { differing, diffTexts } from '../../../ars_gateway/web/diff-lines.js';
import { busy } from './busy.mjs';
import { parseHunks, parsePatch } from '../../../ars_gateway/web/patch-text.js';

/** What a diff turns `oldText` into: its hunks carried out. */
function carriedOut(oldText, hunks) {
  const lines = oldText === '' ? [] : oldText.replace(/\n$/, '').split('\n');
  for (const hunk of [...hunks].reverse()) {
    const fresh = hunk.rows.filter((row) => row.op !== '-').map((row) => row.text);
    const old = hunk.rows.filter((row) => row.op !== '+').map((row) => row.text);
    assert.deepEqual(lines.slice(hunk.oldStart - 1, hunk.oldStart - 1 + hunk.oldCount), old);
    lines.splice(hunk.oldStart - 1, hunk.oldCount, ...fresh);
  }
  return lines.join('\n');
}

const numbered = (count, of = (n) => `line ${n}`) => Array.from({ length: count }, (_, n) => `${of(n + 1)}\n`).join('');
const signs = (hunk) => hunk.rows.map((row) => row.op).join('');

test('a changed line stands between three lines of context, with its numbers', () => {
  const { hunks, added, removed } = diffTexts(numbered(20), numbered(20, (n) => (n === 10 ? 'other' : `line ${n}`)));
  assert.equal(hunks.length, 1);
  assert.equal(signs(hunks[0]), '   -+   ');
  assert.deepEqual([hunks[0].oldStart, hunks[0].oldCount, hunks[0].newStart, hunks[0].newCount], [7, 7, 7, 7]);
  assert.deepEqual([hunks[0].rows[3].old, hunks[0].rows[3].new, hunks[0].rows[4].old, hunks[0].rows[4].new], [10, null, null, 10]);
  assert.deepEqual([added, removed], [1, 1]);
});

test('changes that are near each other share a hunk, others do not', () => {
  const changed = (...at) => numbered(40, (n) => (at.includes(n) ? `new ${n}` : `line ${n}`));
  assert.equal(diffTexts(numbered(40), changed(5, 14)).hunks.length, 1);
  assert.equal(diffTexts(numbered(40), changed(5, 15)).hunks.length, 2);
});

test('files that come and go are all of one kind', () => {
  assert.equal(signs(diffTexts(null, 'a\nb\n').hunks[0]), '++');
  assert.equal(signs(diffTexts('a\nb\n', '').hunks[0]), '--');
  assert.deepEqual(diffTexts('same\n', 'same\n').hunks, []);
});

test('a newline that is missing at the end is a difference, and marked', () => {
  const { hunks } = diffTexts('a\nb', 'a\nb\n');
  assert.equal(signs(hunks[0]), ' -+');
  assert.deepEqual(hunks[0].rows.map((row) => Boolean(row.open)), [false, true, false]);
});

test('line ends of two characters are taken off where all have them, and shown where they differ', () => {
  assert.equal(diffTexts('a\r\nb\r\n', 'a\r\nc\r\n').hunks[0].rows[0].text, 'a');
  assert.equal(diffTexts('a\r\n', 'a\n').hunks[0].rows[0].text, 'a\r');
});

test('any two texts: the hunks carried out make the second of the first, and no shorter way is there', () => {
  let seed = 7;
  const random = (below) => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return Math.floor((seed / 2147483648) * below);
  };
  for (let round = 0; round < 300; round += 1) {
    const text = () => Array.from({ length: random(14) }, () => `${'abcd'[random(4)]}\n`).join('');
    const [before, after] = [text(), text()];
    const { hunks, added, removed } = diffTexts(before, after);
    assert.equal(carriedOut(before, hunks), after.replace(/\n$/, ''));
    assert.equal(added + removed, shortest(before.split('\n'), after.split('\n')));
  }
});

function shortest(a, b) {
  const row = Array.from({ length: b.length + 1 }, (_, n) => n);
  for (const one of a) {
    let diagonal = row[0];
    row[0] += 1;
    for (let at = 1; at <= b.length; at += 1) {
      const kept = diagonal;
      diagonal = row[at];
      row[at] = one === b[at - 1] ? kept : Math.min(row[at], row[at - 1]) + 1;
    }
  }
  return row.at(-1);
}

test('what differs within a line is marked, and lines that have nothing in common are not', () => {
  const { hunks } = diffTexts('return "Hello, " + nme;\n', 'return "Hello, " + name;\n');
  const [was, is] = hunks[0].rows;
  assert.deepEqual(was.marks.map(([from, to]) => was.text.slice(from, to)), ['nme']);
  assert.deepEqual(is.marks.map(([from, to]) => is.text.slice(from, to)), ['name']);
  assert.equal(diffTexts('completely\n', 'something else\n').hunks[0].rows[0].marks, undefined);
});

test('what is too different is one block, found in bounded time', () => {
  const took = busy(() => {
    const { hunks, coarse } = diffTexts(numbered(60_000), numbered(60_000, (n) => `other ${n}`));
    assert.ok(coarse);
    assert.equal(hunks.length, 1);
  });
  assert.ok(took < 5_000);
  assert.equal(differing('same', 'same').coarse, false);
});

const PATCH = `diff --git a/src/a.py b/src/a.py
index 1..2 100644
--- a/src/a.py
+++ b/src/a.py
@@ -1,3 +1,3 @@ def f():
 one
-two
+2
 three
diff --git a/new name.txt b/new name.txt
new file mode 100644
--- /dev/null
+++ b/new name.txt\t
@@ -0,0 +1 @@
+--- not a header
\\ No newline at end of file
diff --git a/old.py b/moved.py
similarity index 100%
rename from old.py
rename to moved.py
diff --git a/x.png b/x.png
Binary files a/x.png and b/x.png differ
`;

test('a git diff is read file by file', () => {
  const files = parsePatch(PATCH);
  assert.deepEqual(files.map((file) => [file.path, file.note, file.hunks.length]), [
    ['src/a.py', '', 1],
    ['new name.txt', 'new file', 1],
    ['moved.py', 'renamed', 0],
    ['x.png', 'binary', 0],
  ]);
  assert.equal(files[0].hunks[0].section, 'def f():');
  assert.deepEqual(files[0].hunks[0].rows.map((row) => [row.op, row.text, row.old, row.new]), [
    [' ', 'one', 1, 1],
    ['-', 'two', 2, null],
    ['+', '2', null, 2],
    [' ', 'three', 3, 3],
  ]);
  assert.equal(files[1].hunks[0].rows[0].text, '--- not a header');
  assert.ok(files[1].hunks[0].rows[0].open);
});

test('what is no patch is none', () => {
  for (const text of ['', 'hello', '- a list\n- of things', '--- \nrule', '@@ -1 +1 @@\n+x']) assert.equal(parsePatch(text), null, text);
});

test('hunks without a header, or with one that lies about its length, are read as far as they go', () => {
  assert.equal(parseHunks([' a', '-b', '+c']).length, 1);
  const [first, second] = parseHunks(['@@ -5,2 +5,2 @@', ' a', '-b', '+c', '@@ -50 +50 @@', '-x', '+y']);
  assert.deepEqual([first.oldStart, first.rows.length, second.oldStart, second.rows.length], [5, 3, 50, 2]);
  assert.equal(parseHunks(['@@ -1,900 +1,900 @@', '-b', '+c'])[0].rows.length, 2);
  assert.deepEqual(parseHunks(['nothing of it']), []);
});
