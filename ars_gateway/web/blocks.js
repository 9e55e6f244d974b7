/**
 * Markdown's blocks, pure: lines in, a list of blocks out. A block is {type, start, …}: paragraph {text}, heading
 * {level, text}, code {lang, lines, closed}, quote {blocks}, list {ordered, first, items: [{task, blocks}], tight},
 * table {aligns, head, rows}, rule. `start` is the number of its first line.
 */

const FENCE = /^( {0,3})(`{3,}|~{3,})[ \t]*([^`\n]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-+*]|\d{1,9}[.)])(?:([ ]+)(.*)|$)/;
const UNDERLINE = /^ {0,3}(=+|-+)[ \t]*$/;
const DELIMITERS = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const TASK = /^\[([ xX])\][ \t]+/;
const DEEPEST = 16;

/** The blocks of `lines`. */
export function parse(lines, depth = 0) {
  const found = [];
  let at = 0;
  while (at < lines.length) {
    if (isBlank(lines[at])) {
      at += 1;
      continue;
    }
    const [block, next] = one(lines, at, depth);
    block.start = at;
    found.push(block);
    at = next;
  }
  return found;
}

/** The fence that a line opens: {char, size, indent, lang}, or null. */
export function fence(line) {
  const found = FENCE.exec(line);
  return found && { char: found[2][0], size: found[2].length, indent: found[1].length, lang: found[3].trim().split(/\s/)[0] };
}

/** Whether a line closes a fence. */
export function closes(line, { char, size }) {
  const found = /^ {0,3}(`{3,}|~{3,})[ \t]*$/.exec(line);
  return found !== null && found[1][0] === char && found[1].length >= size;
}

/** A line of code without the indentation of its fence. */
export function inFence(line, { indent }) {
  return indent ? line.replace(new RegExp(`^ {0,${indent}}`), '') : line;
}

function one(lines, at, depth) {
  const line = untabbed(lines[at]);
  const opened = fence(line);
  if (opened) return code(lines, at, opened);
  const heading = HEADING.exec(line);
  if (heading) return [{ type: 'heading', level: heading[1].length, text: heading[2] ?? '' }, at + 1];
  if (RULE.test(line)) return [{ type: 'rule' }, at + 1];
  if (depth < DEEPEST && QUOTE.test(line)) return quote(lines, at, depth);
  if (/^ {4}/.test(line)) return indented(lines, at);
  if (depth < DEEPEST && ITEM.test(line)) return list(lines, at, depth);
  if (isTable(lines, at)) return table(lines, at);
  return paragraph(lines, at, depth);
}

function code(lines, at, opened) {
  const inner = [];
  let next = at + 1;
  while (next < lines.length && !closes(lines[next], opened)) {
    inner.push(inFence(lines[next], opened));
    next += 1;
  }
  return [{ type: 'code', lang: opened.lang, lines: inner, closed: next < lines.length }, next + 1];
}

function indented(lines, at) {
  let next = at;
  let end = at;
  while (next < lines.length && (isBlank(lines[next]) || /^ {4}/.test(untabbed(lines[next])))) {
    next += 1;
    if (!isBlank(lines[next - 1])) end = next;
  }
  const inner = lines.slice(at, end).map((line) => untabbed(line).slice(4));
  return [{ type: 'code', lang: '', lines: inner, closed: true }, end];
}

function quote(lines, at, depth) {
  const inner = [];
  let next = at;
  for (; next < lines.length; next += 1) {
    if (QUOTE.test(lines[next])) inner.push(lines[next].replace(QUOTE, ''));
    else if (isBlank(lines[next]) || isBlank(inner.at(-1)) || interrupts(lines[next])) break;
    else inner.push(lines[next]);
  }
  return [{ type: 'quote', blocks: parse(inner, depth + 1) }, next];
}

function list(lines, at, depth) {
  const first = ITEM.exec(untabbed(lines[at]));
  const ordered = /\d/.test(first[2]);
  const block = { type: 'list', ordered, first: ordered ? Number.parseInt(first[2], 10) : null, items: [], tight: true };
  let next = at;
  while (next < lines.length) {
    const marker = ITEM.exec(untabbed(lines[next]));
    if (!marker || !alike(marker, first) || RULE.test(lines[next])) break;
    const [item, end, loose] = listItem(lines, next, marker, depth);
    block.items.push(item);
    let after = end;
    while (after < lines.length && isBlank(lines[after])) after += 1;
    const more = after < lines.length && sibling(untabbed(lines[after]), first);
    if (loose || (more && after > end)) block.tight = false;
    next = more ? after : end;
    if (!more) break;
  }
  return [block, next];
}

function sibling(line, first) {
  const marker = ITEM.exec(line);
  return marker !== null && alike(marker, first) && !RULE.test(line);
}

/** Whether two markers are of one list: the same sign, and about the same indentation. */
function alike(one, other) {
  const sign = (marker) => marker[2].at(-1);
  return sign(one) === sign(other) && one[1].length <= other[1].length + 1;
}

/** One item: its lines are those indented deeper than its marker, though by less than CommonMark asks. */
function listItem(lines, at, marker, depth) {
  const least = marker[1].length + 2;
  const spaces = (marker[3] ?? ' ').length;
  const width = marker[1].length + marker[2].length + (spaces > 4 ? 1 : spaces);
  const task = TASK.exec(marker[4] ?? '');
  const inner = [(spaces > 4 ? marker[3].slice(1) : '') + (task ? marker[4].slice(task[0].length) : (marker[4] ?? ''))];
  let next = at + 1;
  let end = next;
  let open = fence(inner[0]);
  for (; next < lines.length; next += 1) {
    const line = untabbed(lines[next]);
    const indent = line.length - line.trimStart().length;
    const deeper = indent >= least;
    const lazy = end === next && !interrupts(line) && !ITEM.test(line) && !open;
    if (!isBlank(line) && !deeper && !lazy) break;
    if (!isBlank(line)) end = next + 1;
    const stripped = line.slice(Math.min(indent, width));
    open = open ? (closes(stripped, open) ? null : open) : fence(stripped);
    inner.push(stripped);
  }
  inner.length = end - at;
  const blocks = parse(inner, depth + 1);
  const loose = blocks.some((block, index) => index > 0 && block.type === 'paragraph' && isBlank(inner[block.start - 1]));
  return [{ task: task && task[1] !== ' ', isTask: task !== null, blocks }, end, loose];
}

function isTable(lines, at) {
  const under = lines[at + 1];
  if (under === undefined || !lines[at].includes('|') || !under.includes('-') || !DELIMITERS.test(under)) return false;
  return cells(lines[at]).length === cells(under).length;
}

function table(lines, at) {
  const aligns = cells(lines[at + 1]).map((cell) => {
    if (/^:-*:$/.test(cell)) return 'center';
    if (cell.endsWith(':')) return 'right';
    return cell.startsWith(':') ? 'left' : null;
  });
  const rows = [];
  let next = at + 2;
  while (next < lines.length && !isBlank(lines[next]) && !interrupts(lines[next])) {
    const row = cells(lines[next]).slice(0, aligns.length);
    while (row.length < aligns.length) row.push('');
    rows.push(row);
    next += 1;
  }
  return [{ type: 'table', aligns, head: cells(lines[at]), rows }, next];
}

/** The cells of a table's line: `|` parts them, but not `\|`, and not within code. */
function cells(line) {
  const plain = line.trim().replace(/^\|/, '').replace(/(?<!\\)\|$/, '');
  const found = [''];
  for (const [part] of plain.matchAll(/\\.|`+[^`|]*`+|[^\\`|]+|[\\`|]/g)) {
    if (part === '|') found.push('');
    else found[found.length - 1] += part === '\\|' ? '|' : part;
  }
  return found.map((cell) => cell.trim());
}

function paragraph(lines, at, depth) {
  let next = at + 1;
  while (next < lines.length && !isBlank(lines[next])) {
    const under = UNDERLINE.exec(lines[next]);
    if (under) {
      const text = lines.slice(at, next).map(trimmedStart).join('\n');
      return [{ type: 'heading', level: under[1][0] === '=' ? 1 : 2, text }, next + 1];
    }
    if (interrupts(lines[next]) || isTable(lines, next)) break;
    const item = depth < DEEPEST && ITEM.exec(lines[next]);
    if (item && item[4] && (item[2].length === 1 || /^1.$/.test(item[2]))) break;
    next += 1;
  }
  return [{ type: 'paragraph', text: lines.slice(at, next).map(trimmedStart).join('\n') }, next];
}

/** Whether a line ends the paragraph before it. */
function interrupts(line) {
  return fence(line) !== null || HEADING.test(line) || RULE.test(line) || QUOTE.test(line);
}

function trimmedStart(line) {
  return line.trimStart();
}

function untabbed(line) {
  return line.replace(/^[ \t]+/, (space) => space.replaceAll('\t', '    '));
}

function isBlank(line) {
  return line === undefined || /^[ \t]*$/.test(line);
}
