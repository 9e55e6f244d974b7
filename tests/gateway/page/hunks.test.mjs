import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Decisions, reviewOf } from '../../../ars_gateway/web/hunks.js';

const TITLES = ['1: src/a.py, line 3 (+1 -1)', '2: src/a.py, line 40 (+2 -0)', '3: Create docs/new.md'];
const MESSAGE = `Which of these changes do you want?

${TITLES[0]}
@@ -3,2 +3,2 @@
 def a():
-    return 1
+    return 2

${TITLES[1]}
@@ -40,1 +40,3 @@
 x
+y
+z

${TITLES[2]}
@@ -0,0 +1,1 @@
+# New
`;

function form(message = MESSAGE, titles = TITLES, more = {}) {
  const anyOf = titles.map((title, at) => ({ const: String(at + 1), title }));
  return { message, requestedSchema: { properties: { hunks: { type: 'array', items: { anyOf }, ...more } } } };
}

test('a review is read from its form: lead, files, hunks with their rows', () => {
  const review = reviewOf(form());
  assert.equal(review.field, 'hunks');
  assert.equal(review.lead, 'Which of these changes do you want?');
  assert.deepEqual(review.files, [
    { name: 'src/a.py', at: [0, 1] },
    { name: 'Create docs/new.md', at: [2] },
  ]);
  assert.deepEqual(review.choices.map((one) => one.where), ['line 3 (+1 -1)', 'line 40 (+2 -0)', '']);
  assert.deepEqual(review.choices.map((one) => one.hunks.map((hunk) => hunk.rows.length)), [[3], [3], [1]]);
});

test('a hunk whose text looks like the title of another stays whole', () => {
  const titles = ['1: a.txt, line 1 (+1 -0)', '2: b.txt, line 1 (+1 -0)'];
  const message = `${titles[0]}\n@@ -0,0 +1,2 @@\n+${titles[1]}\n+end\n${titles[1]}\n@@ -0,0 +1 @@\n+b`;
  const review = reviewOf(form(message, titles));
  assert.deepEqual(review.choices[0].hunks[0].rows.map((row) => row.text), [titles[1], 'end']);
  assert.deepEqual(review.choices[1].hunks[0].rows.map((row) => row.text), ['b']);
});

test('titles are found though the message has what nobody sees in it written out', () => {
  const review = reviewOf(form('1: a\\u202e.txt, line 1\n@@ -1 +1 @@\n-x\n+y', ['1: a\u202e.txt, line 1']));
  assert.equal(review.choices[0].hunks[0].rows.length, 2);
});

test('diffs may stand in the descriptions of the options instead', () => {
  const one = form('Choose', ['a.py @@ 1']);
  one.requestedSchema.properties.hunks.items.anyOf[0].description = '@@ -1 +1 @@\n-x\n+y';
  assert.equal(reviewOf(one).choices[0].hunks[0].rows.length, 2);
});

test('other forms are no review', () => {
  assert.equal(reviewOf(form('Which fruit?', ['apple', 'pear'])), null);
  assert.equal(reviewOf({ message: 'x' }), null);
  assert.equal(reviewOf({ message: 'x', requestedSchema: { properties: { a: { type: 'string' } } } }), null);
  const two = form();
  two.requestedSchema.properties.more = { type: 'string' };
  assert.equal(reviewOf(two), null);
});

test('only what was accepted is answered; what is open is left out; nothing at all declines', () => {
  const decisions = new Decisions(reviewOf(form()));
  assert.deepEqual(decisions.answer(), { action: 'decline' });
  decisions.set([0], true);
  decisions.set([1], false);
  assert.deepEqual([decisions.accepted, decisions.open], [1, 1]);
  assert.deepEqual(decisions.answer(), { action: 'accept', content: { hunks: ['1'] } });
  decisions.set([0], false);
  assert.deepEqual(decisions.answer(), { action: 'decline' });
});

test('the rest is decided at once, and what was decided stays', () => {
  const decisions = new Decisions(reviewOf(form()));
  decisions.set([1], false);
  decisions.setRest(true);
  assert.deepEqual(decisions.of, [true, false, true]);
  decisions.setRest(false);
  assert.deepEqual(decisions.of, [false, false, false]);
});

test('next is the next one that is open, around the end', () => {
  const decisions = new Decisions(reviewOf(form()));
  decisions.set([2], true);
  assert.equal(decisions.next(1), 0);
  decisions.set([0, 1], true);
  assert.equal(decisions.next(1), 1);
});
