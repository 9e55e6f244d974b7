/** Patches as they are written down: the text of `git diff`, or the lines of one hunk. Pure, and forgiving. */

import { markPairs } from './diff-lines.js';

const HEADER = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@ ?(.*)$/;

/**
 * @typedef {import('./diff-lines.js').Hunk & {section?: string}} Hunk
 * @typedef {{path: string, from: string|null, note: string, hunks: Hunk[]}} FilePatch
 */

/**
 * The files of a patch; null where `text` is none.
 * @param {string} text
 * @returns {FilePatch[]|null}
 */
export function parsePatch(text) {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  const files = [];
  let file = null;
  const begin = (path) => {
    file = { path, from: null, note: '', hunks: [] };
    files.push(file);
  };
  for (let at = 0; at < lines.length; ) {
    const line = lines[at];
    if (line.startsWith('diff --git ')) {
      begin(secondName(line));
      at += 1;
    } else if (line.startsWith('--- ') && lines[at + 1]?.startsWith('+++ ')) {
      const [from, to] = [nameOf(line), nameOf(lines[at + 1])];
      if (!file || file.hunks.length) begin(to ?? from ?? '');
      file.path = to ?? from ?? file.path;
      if (from === null) file.note ||= 'new file';
      if (to === null) file.note = 'deleted';
      at += 2;
    } else if (HEADER.test(line) && file) {
      const { hunk, next } = readHunk(lines, at);
      file.hunks.push(hunk);
      at = next;
    } else {
      if (file && !file.hunks.length) notice(file, line);
      at += 1;
    }
  }
  return files.some((one) => one.hunks.length || one.note) ? files : null;
}

/**
 * The hunks in these lines, which belong to one file. Lines before the first header are a hunk of their own, numbered
 * from 1; what is neither a header nor begins as a line of a hunk does is passed over.
 * @param {string[]} lines
 * @returns {Hunk[]}
 */
export function parseHunks(lines) {
  const hunks = [];
  for (let at = 0; at < lines.length; ) {
    const { hunk, next } = readHunk(lines, at);
    if (hunk.rows.length) hunks.push(hunk);
    at = Math.max(next, at + 1);
  }
  return hunks;
}

/** Reads the hunk that begins at `at`, with its header or without. A header's counts say where it ends. */
function readHunk(lines, at) {
  const header = HEADER.exec(lines[at]);
  const [, oldStart, oldCount, newStart, newCount, section] = header ?? [null, 1, Infinity, 1, Infinity, ''];
  let [old, fresh] = [Number(oldStart), Number(newStart)];
  let left = [Number(oldCount ?? 1), Number(newCount ?? 1)];
  const hunk = { oldStart: old, oldCount: 0, newStart: fresh, newCount: 0, rows: [], section };
  let next = header ? at + 1 : at;
  for (; next < lines.length; next += 1) {
    const line = lines[next];
    const op = line === '' ? ' ' : line[0];
    if (op === '\\') {
      if (hunk.rows.length) hunk.rows.at(-1).open = true;
      continue;
    }
    if (!' +-'.includes(op) || (left[0] <= 0 && left[1] <= 0)) break;
    const inOld = op !== '+';
    const inNew = op !== '-';
    hunk.rows.push({ op, text: line.slice(1), old: inOld ? old : null, new: inNew ? fresh : null });
    [old, fresh] = [old + inOld, fresh + inNew];
    left = [left[0] - inOld, left[1] - inNew];
  }
  hunk.oldCount = old - hunk.oldStart;
  hunk.newCount = fresh - hunk.newStart;
  markRows(hunk.rows);
  return { hunk, next };
}

function markRows(rows) {
  for (let at = 0; at < rows.length; ) {
    const begin = at;
    while (rows[at]?.op === '-') at += 1;
    const middle = at;
    while (rows[at]?.op === '+') at += 1;
    if (middle > begin && at > middle) markPairs(rows.slice(begin, middle), rows.slice(middle, at));
    if (at === begin) at += 1;
  }
}

function notice(file, line) {
  if (line.startsWith('new file mode')) file.note = 'new file';
  else if (line.startsWith('deleted file mode')) file.note = 'deleted';
  else if (line.startsWith('rename from ')) file.from = line.slice(12);
  else if (line.startsWith('rename to ')) [file.path, file.note] = [line.slice(10), 'renamed'];
  else if (line.startsWith('Binary files ') || line.startsWith('GIT binary patch')) file.note = 'binary';
  else if (line.startsWith('new mode ')) file.note ||= 'mode changed';
}

/** The name in a `---` or `+++` line; null for no file. */
function nameOf(line) {
  const name = line.slice(4).split('\t')[0];
  return name === '/dev/null' ? null : name.replace(/^"(.*)"$/, '$1').replace(/^[ab]\//, '');
}

function secondName(line) {
  const quoted = /"b\/((?:[^"\\]|\\.)*)"$/.exec(line);
  if (quoted) return quoted[1];
  const rest = line.slice(11);
  // Both names are the same but for their first letter, unless the file is renamed: then other lines tell.
  const half = rest.slice((rest.length + 1) / 2);
  return half.startsWith('b/') ? half.slice(2) : rest.split(' b/').at(-1);
}
