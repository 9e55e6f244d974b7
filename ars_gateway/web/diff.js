/** Diffs to look at: one column of lines with their numbers, signs and what differs within them. */

import { diffTexts } from './diff-lines.js';
import { el, reveal } from './dom.js';

const MOST_ROWS = 300;
const MORE_ROWS = 1_500;
const MOST_FOLDED = 400;
const LONGEST_SHOWN = 5_000;

/** @type {WeakMap<object, ReturnType<typeof diffTexts>>} */
const compared = new WeakMap();

/**
 * What a change changes, found out once for each.
 * @param {{oldText: string|null, newText: string|null}} change
 */
export function differencesOf(change) {
  let found = compared.get(change);
  if (found === undefined) compared.set(change, (found = diffTexts(change.oldText, change.newText)));
  return found;
}

/**
 * A file's change, from what stood in it before and after.
 * @param {{path: string, oldText: string|null, newText: string|null}} change
 * @returns {HTMLElement}
 */
export function diffView(change) {
  const { path, oldText, newText } = change;
  const found = differencesOf(change);
  const note = oldText === null || oldText === undefined ? 'new file' : newText ? '' : 'emptied or deleted';
  const head = fileHead(path, { ...found, note });
  if (!found.hunks.length) return el('figure', { class: 'diff' }, head, el('p', { class: 'diff-note', text: 'Nothing differs.' }));
  const note2 = found.coarse && el('p', { class: 'diff-note', text: 'Too much differs to compare line by line.' });
  return el('figure', { class: 'diff' }, head, note2, hunkTable(found.hunks, path, found.newLines));
}

/**
 * The files of a patch.
 * @param {import('./patch-text.js').FilePatch[]} files
 */
export function patchView(files) {
  return el('div', { class: 'diffs' }, files.map((file) => {
    const rows = file.hunks.flatMap((hunk) => hunk.rows);
    const counts = { added: count(rows, '+'), removed: count(rows, '-') };
    const note = [file.note, file.from && `from ${reveal(file.from)}`].filter(Boolean).join(' ');
    return el('figure', { class: 'diff' }, fileHead(file.path, { ...counts, note }), file.hunks.length > 0 && hunkTable(file.hunks, file.path));
  }));
}

/** How many lines come and go, in signs and colour. */
export function counts({ added, removed }) {
  return el('span', { class: 'diff-counts', aria: { label: `${added} added, ${removed} removed` } },
    added > 0 && el('span', { class: 'added', text: `+${added}` }), added > 0 && removed > 0 && ' ',
    removed > 0 && el('span', { class: 'removed', text: `\u2212${removed}` }));
}

export function count(rows, op) {
  return rows.reduce((sum, row) => sum + (row.op === op), 0);
}

function fileHead(path, { added, removed, note, crlf }) {
  const more = [note, crlf && 'CRLF'].filter(Boolean).join(', ');
  return el('figcaption', { class: 'diff-head' }, pathText(path), more && el('span', { class: 'dim', text: more }), counts({ added, removed }));
}

/** A path whose last part stands out; where there is no room its beginning is cut. */
export function pathText(path) {
  // A name may hold what ends a line elsewhere.
  const shown = reveal(path).replaceAll('\n', '\\n').replaceAll('\t', '\\t');
  const at = shown.lastIndexOf('/') + 1;
  return el('span', { class: 'path', title: shown }, el('bdi', {}, el('span', { class: 'dim', text: shown.slice(0, at) }), shown.slice(at)));
}

/**
 * The lines of hunks. What is much is shown in parts, at the press of a button.
 * @param {import('./diff-lines.js').Hunk[]} hunks
 * @param {string} path
 * @param {string[]} [newLines]  all lines of the new text: then what lies between hunks can be unfolded
 */
export function hunkTable(hunks, path, newLines) {
  const body = el('tbody', {});
  const columns = el('colgroup', {}, ['num', 'num', 'sign', 'line-text'].map((name) => el('col', { class: name })));
  const table = el('table', { class: 'diff-lines', aria: { label: `Changes of ${reveal(path)}` } }, columns, body);
  const queue = [];
  let end = 1;
  for (const hunk of hunks) {
    const gap = newLines ? hunk.newStart - end : 0;
    if (gap > 0) queue.push(() => foldRow(gap, newLines, hunk.newStart - gap, hunk.oldStart - gap));
    else if (!newLines && hunks.length > 1 && hunk.oldStart > 0) queue.push(() => markRow(`line ${hunk.newStart || hunk.oldStart}`, hunk.section));
    for (const row of hunk.rows) queue.push(...rowMakers(row));
    end = hunk.newStart + hunk.newCount;
  }
  const last = newLines ? newLines.length + 1 - end : 0;
  if (last > 0) queue.push(() => foldRow(last, newLines, end, null));
  const view = el('div', { class: 'diff-scroll' }, table);
  let at = 0;
  const showMore = (many) => {
    body.append(...queue.slice(at, at + many).map((make) => make()));
    at = Math.min(queue.length, at + many);
  };
  showMore(MOST_ROWS);
  if (at < queue.length) {
    const more = el('button', { type: 'button', class: 'button quiet small show-more', on: { click: () => {
      showMore(MORE_ROWS);
      if (at < queue.length) label();
      else more.remove();
    } } });
    const label = () => (more.textContent = `Show ${Math.min(MORE_ROWS, queue.length - at)} more of ${queue.length - at} lines`);
    label();
    view.append(more);
  }
  return view;
}

function foldRow(gap, newLines, from, oldFrom) {
  const row = el('tr', { class: 'fold' });
  const text = `${gap} unchanged line${gap === 1 ? '' : 's'}`;
  const unfold = () => {
    const many = Math.min(gap, MOST_FOLDED);
    const made = [];
    for (let n = 0; n < many; n += 1) {
      made.push(...rowMakers({ op: ' ', text: newLines[from - 1 + n], old: oldFrom === null ? null : oldFrom + n, new: from + n }).map((make) => make()));
    }
    if (many < gap) made.push(foldRow(gap - many, newLines, from + many, oldFrom === null ? null : oldFrom + many));
    row.replaceWith(...made);
  };
  row.append(el('td', { colspan: 4 }, el('button', { type: 'button', class: 'fold-button', on: { click: unfold } }, `\u22ef ${text}`)));
  return row;
}

function markRow(where, section) {
  return el('tr', { class: 'fold' }, el('td', { colspan: 4 }, el('span', { class: 'fold-text', text: section ? `${where}  ${reveal(section)}` : where })));
}

const KINDS = { ' ': 'same', '+': 'add', '-': 'del' };
const SIGNS = { ' ': ' ', '+': '+', '-': '\u2212' };
const SPOKEN = { '+': 'added ', '-': 'removed ' };

function rowMakers(row) {
  const made = [() => lineRow(row)];
  if (row.open) made.push(() => markRow('no newline at the end of the file'));
  return made;
}

function lineRow({ op, text, old, new: fresh, marks }) {
  return el('tr', { class: KINDS[op] },
    el('td', { class: 'num', data: { n: old ?? '' } }),
    el('td', { class: 'num', data: { n: fresh ?? '' } }),
    el('td', { class: 'sign' }, SPOKEN[op] && el('span', { class: 'visually-hidden', text: SPOKEN[op] }), el('span', { aria: { hidden: true }, text: SIGNS[op] })),
    el('td', { class: 'line-text' }, marked(text, marks)));
}

/** A line's text, its marks as elements. Very long lines are cut. */
function marked(text, marks = []) {
  const whole = text.length > LONGEST_SHOWN ? text.slice(0, LONGEST_SHOWN) : text;
  const parts = [];
  let at = 0;
  for (const [from, to] of marks) {
    parts.push(reveal(whole.slice(at, from)), el('mark', { text: reveal(whole.slice(from, to)) }));
    at = to;
  }
  parts.push(reveal(whole.slice(at)));
  if (whole !== text) parts.push(el('span', { class: 'dim', text: ` \u2026 ${text.length - LONGEST_SHOWN} more characters` }));
  return parts;
}
