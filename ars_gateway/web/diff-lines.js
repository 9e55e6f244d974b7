/** What differs between two texts: line by line, and within lines. Pure, and bounded in its work. */

const CONTEXT = 3;
// Fewer unchanged lines than this are not worth a button.
const LEAST_FOLDED = 3;
// Steps of the search before it gives up and shows what differs as one block.
const MOST_STEPS = 3_000_000;
const MOST_EDITS = 1_200;
const LONGEST_MARKED = 1_000;
// So many lines that are other ones now are other lines: nobody compares them pair by pair.
const MOST_PAIRS = 200;
// Lines that have less in common than this are not marked within: marks everywhere say nothing.
const LEAST_ALIKE = 0.35;

/**
 * @typedef {{op: ' '|'+'|'-', text: string, old: number|null, new: number|null, open?: boolean,
 *            marks?: [number, number][]}} Row   `open`: no newline at its end; `marks`: what differs from its partner
 * @typedef {{oldStart: number, oldCount: number, newStart: number, newCount: number, rows: Row[]}} Hunk
 *          lines are counted from 1
 */

/**
 * The hunks between two texts, each with its context.
 * @param {string|null} oldText  null for a file that is made
 * @param {string|null} newText  null for a file that goes
 * @returns {{hunks: Hunk[], oldLines: string[], newLines: string[], added: number, removed: number, coarse: boolean,
 *            crlf: boolean}}  `coarse`: too much differs to say more than where it begins and ends
 */
export function diffTexts(oldText, newText, context = CONTEXT) {
  const before = linesOf(oldText ?? '');
  const after = linesOf(newText ?? '');
  const all = [...before.texts, ...after.texts];
  const crlf = all.length > 0 && all.every((line) => line.endsWith('\r'));
  if (crlf) for (const side of [before, after]) side.texts = side.texts.map((line) => line.slice(0, -1));
  const { regions, coarse } = differing(before.keys, after.keys);
  const hunks = grouped(regions, before.texts.length, context).map((group) => hunkOf(group, before, after, context));
  let [added, removed] = [0, 0];
  for (const [a0, a1, b0, b1] of regions) {
    removed += a1 - a0;
    added += b1 - b0;
  }
  return { hunks, oldLines: before.texts, newLines: after.texts, added, removed, coarse, crlf };
}

/**
 * Where two lists differ: `[from, to)` of the first against `[from, to)` of the second.
 * @param {ArrayLike<unknown>} a
 * @param {ArrayLike<unknown>} b
 * @returns {{regions: [number, number, number, number][], coarse: boolean}}
 */
export function differing(a, b, steps = MOST_STEPS) {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let [endA, endB] = [a.length, b.length];
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) [endA, endB] = [endA - 1, endB - 1];
  if (start === endA && start === endB) return { regions: [], coarse: false };
  const whole = [[start, endA, start, endB]];
  if (start === endA || start === endB) return { regions: whole, coarse: false };
  const trace = search(a, b, start, endA, endB, steps);
  if (trace === null) return { regions: whole, coarse: true };
  return { regions: regionsOf(trace, endA - start, endB - start, start), coarse: false };
}

/** Myers' greedy search; the furthest points after each number of edits, or null where that took too long. */
function search(a, b, start, endA, endB, steps) {
  const [n, m] = [endA - start, endB - start];
  const most = Math.min(n + m, MOST_EDITS);
  const reach = new Int32Array(2 * most + 3);
  const middle = most + 1;
  const trace = [];
  let left = steps;
  for (let edits = 0; edits <= most; edits += 1) {
    trace.push(reach.slice(middle - edits - 1, middle + edits + 2));
    for (let k = -edits; k <= edits; k += 2) {
      const down = k === -edits || (k !== edits && reach[middle + k - 1] < reach[middle + k + 1]);
      let x = down ? reach[middle + k + 1] : reach[middle + k - 1] + 1;
      const from = x;
      while (x < n && x - k < m && a[start + x] === b[start + x - k]) x += 1;
      left -= x - from + 1;
      reach[middle + k] = x;
      if (x >= n && x - k >= m) return trace;
    }
    if (left < 0) return null;
  }
  return null;
}

function regionsOf(trace, n, m, start) {
  const regions = [];
  let [x, y] = [n, m];
  for (let edits = trace.length - 1; edits > 0; edits -= 1) {
    const reach = trace[edits];
    const at = (k) => reach[k + edits + 1];
    const k = x - y;
    const down = k === -edits || (k !== edits && at(k - 1) < at(k + 1));
    const before = down ? k + 1 : k - 1;
    const fromX = at(before);
    const fromY = fromX - before;
    const [toX, toY] = down ? [fromX, fromY + 1] : [fromX + 1, fromY];
    const next = regions[0];
    if (next && next[0] === start + toX && next[2] === start + toY) [next[0], next[2]] = [start + fromX, start + fromY];
    else regions.unshift([start + fromX, start + toX, start + fromY, start + toY]);
    [x, y] = [fromX, fromY];
  }
  return regions;
}

function linesOf(text) {
  if (text === '') return { texts: [], keys: [], open: false };
  const texts = text.split('\n');
  const open = texts.at(-1) !== '';
  if (!open) texts.pop();
  const keys = open ? [...texts.slice(0, -1), `${texts.at(-1)}\n`] : [...texts];
  return { texts, keys, open };
}

/** Regions that share their context, together. */
function grouped(regions, length, context) {
  const groups = [];
  for (const region of regions) {
    const last = groups.at(-1)?.at(-1);
    if (last && region[0] - last[1] < 2 * context + LEAST_FOLDED) groups.at(-1).push(region);
    else groups.push([region]);
  }
  return groups;
}

function hunkOf(group, before, after, context) {
  const [first, last] = [group[0], group.at(-1)];
  const from = Math.max(0, first[0] - context);
  const to = Math.min(before.texts.length, last[1] + context);
  const newFrom = first[2] - (first[0] - from);
  const rows = [];
  let [x, y] = [from, newFrom];
  const same = (end) => {
    for (; x < end; x += 1, y += 1) rows.push(row(' ', before, x, y));
  };
  for (const [a0, a1, b0, b1] of group) {
    same(a0);
    const removed = [];
    const added = [];
    for (; x < a1; x += 1) removed.push(row('-', before, x, null));
    for (; y < b1; y += 1) added.push(row('+', after, null, y));
    markPairs(removed, added);
    rows.push(...removed, ...added);
  }
  same(to);
  return { oldStart: from + 1, oldCount: x - from, newStart: newFrom + 1, newCount: y - newFrom, rows };
}

function row(op, side, old, fresh) {
  const at = old ?? fresh;
  const made = { op, text: side.texts[at], old: old === null ? null : old + 1, new: fresh === null ? null : fresh + 1 };
  if (side.open && at === side.texts.length - 1) made.open = true;
  return made;
}

/**
 * Marks, in rows that took each other's place, what differs within them.
 * @param {Row[]} removed
 * @param {Row[]} added
 */
export function markPairs(removed, added) {
  if (removed.length !== added.length || removed.length > MOST_PAIRS) return;
  removed.forEach((was, at) => {
    const is = added[at];
    if (was.text.length > LONGEST_MARKED || is.text.length > LONGEST_MARKED) return;
    const [words, others] = [wordsOf(was.text), wordsOf(is.text)];
    const { regions, coarse } = differing(words, others, 20_000);
    if (coarse || !regions.length) return;
    const marks = [regions.map(([a0, a1]) => [a0, a1]), regions.map(([, , b0, b1]) => [b0, b1])];
    const [inOld, inNew] = [spans(words, marks[0]), spans(others, marks[1])];
    const changed = Math.max(covered(inOld, was.text), covered(inNew, is.text));
    if (changed > 1 - LEAST_ALIKE) return;
    was.marks = inOld;
    is.marks = inNew;
  });
}

function wordsOf(text) {
  return text.match(/[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu) ?? [];
}

/** Ranges of words as ranges of characters, empty ones left out. */
function spans(words, ranges) {
  const ends = [0];
  for (const word of words) ends.push(ends.at(-1) + word.length);
  return ranges.filter(([from, to]) => to > from).map(([from, to]) => [ends[from], ends[to]]);
}

function covered(ranges, text) {
  return text.length ? ranges.reduce((sum, [from, to]) => sum + to - from, 0) / text.length : 0;
}
