/** What a tool call shows: texts, pictures, diffs, terminals; and its raw input and output, folded. */

import { differencesOf, diffView, patchView } from './diff.js';
import { copyButton, el, reveal, safeHref } from './dom.js';
import { parsePatch } from './patch-text.js';
import { terminalView } from './terminal.js';

const PICTURES = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp']);
// How our agent marks, for its model, what is no instruction.
const DATA = /^--- data ([0-9a-f]{8}) \(not instructions\) ---\n([^]*?)\n?--- end of \1 ---$/gm;
const LINES_OPEN = 16;
const LONGEST_MARKDOWN = 6_000;
const LONGEST_TEXT = 400_000;
const LONGEST_JSON = 60_000;

/** How much the diffs of a call's content change, and how many terminals it has. */
export function weigh(content) {
  const sum = { added: 0, removed: 0, rows: 0, terminals: 0 };
  for (const part of content ?? []) {
    if (part?.type === 'terminal') sum.terminals += 1;
    if (part?.type !== 'diff') continue;
    const { added, removed, hunks } = differencesOf(part);
    sum.added += added;
    sum.removed += removed;
    sum.rows += hunks.reduce((rows, hunk) => rows + hunk.rows.length, 0);
  }
  return sum;
}

/**
 * A call's content as one element.
 * @returns {{element: HTMLElement, update: (ctx: any) => void} | null}  `update` feeds its terminals
 */
export function shownOf(call, ctx) {
  const terminals = [];
  const made = (call.content ?? []).map((part) => {
    if (part?.type === 'diff') return diffView(part);
    if (part?.type === 'content') return block(part.content, call, ctx);
    if (part?.type !== 'terminal') return null;
    const view = terminalView(call.title ?? 'the command');
    const nothing = el('p', { class: 'dim nothing', text: 'No output.' });
    terminals.push({ id: part.terminalId, view, nothing });
    return [view.element, nothing];
  }).filter(Boolean);
  if (!made.length) return null;
  const update = (context) => {
    for (const { id, view, nothing } of terminals) {
      view.update(context.terminal(id));
      nothing.hidden = !view.element.hidden;
      nothing.textContent = call.status === 'in_progress' ? 'No output yet.' : 'No output is kept.';
    }
  };
  return { element: el('div', { class: 'tool-content' }, made), update };
}

function block(content, call, ctx) {
  if (content?.type === 'text' && typeof content.text === 'string') return textBlock(content.text, call, ctx);
  if (content?.type === 'image' && PICTURES.has(content.mimeType) && /^[A-Za-z0-9+/=\s]*$/.test(content.data ?? '')) {
    return el('img', { class: 'tool-picture', src: `data:${content.mimeType};base64,${content.data}`, alt: 'A picture that the tool shows' });
  }
  if (content?.type === 'resource_link') return linkTo(content);
  const text = content?.resource?.text;
  return typeof text === 'string' ? foldable(text, content.resource.uri) : null;
}

function linkTo({ uri, name, title }) {
  const href = safeHref(uri);
  const text = reveal(title || name || uri || '');
  return el('p', {}, href ? el('a', { href, text }) : el('span', { class: 'mono', text: `${text} ${reveal(uri ?? '')}` }));
}

/** Text is Markdown as the protocol has it; what is one code block, or too long for that, is shown as it stands. */
function textBlock(text, call, ctx) {
  const fenced = /^(`{3,})([\w-]*)\n([^]*?)\n?\1\s*$/.exec(text);
  const inner = fenced ? fenced[3] : text;
  if (!fenced || fenced[2] === 'diff') {
    const files = /^(diff --git |--- )/m.test(inner) && inner.length < LONGEST_TEXT ? parsePatch(inner) : null;
    if (files) return patchView(files);
  }
  if (fenced && call.kind === 'execute' && fenced[2] === 'sh') return null; // the command, which stands above
  const plain = fenced || text.length > LONGEST_MARKDOWN || ['read', 'search', 'execute', 'fetch'].includes(call.kind);
  return plain ? foldable(inner.replace(DATA, '$2'), call.title) : el('div', { class: 'tool-text' }, ctx.markdown(text));
}

/** Text as it stands, its beginning only where it is long. */
export function foldable(text, label = 'Text') {
  const whole = text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}\n\u2026` : text;
  const lines = whole.split('\n');
  if (lines.at(-1) === '') lines.pop();
  const pre = el('pre', { class: 'tool-pre', tabindex: 0, aria: { label: reveal(label ?? 'Text') } });
  const tools = el('div', { class: 'terminal-tools' }, copyButton(() => text));
  const frame = el('div', { class: 'tool-pre-frame' }, pre, tools);
  if (lines.length <= LINES_OPEN + 4) {
    pre.textContent = reveal(lines.join('\n'));
    return frame;
  }
  pre.textContent = reveal(lines.slice(0, LINES_OPEN).join('\n'));
  const more = el('button', { type: 'button', class: 'button quiet small show-more', text: `Show all ${lines.length} lines` });
  more.addEventListener('click', () => {
    pre.textContent = reveal(lines.join('\n'));
    more.remove();
    pre.focus({ preventScroll: true });
  });
  frame.append(more);
  return frame;
}

/** Raw input or output, folded; built when it is opened. Null where there is nothing in it. */
export function jsonBlock(label, value) {
  if (value === null || value === undefined || value === '' || (typeof value === 'object' && !Object.keys(value).length)) return null;
  const details = el('details', { class: 'raw' }, el('summary', { text: label }));
  details.addEventListener('toggle', () => {
    if (details.childElementCount > 1) return;
    let text = typeof value === 'string' ? value : JSON.stringify(value, null, 2);
    if (text.length > LONGEST_JSON) text = `${text.slice(0, LONGEST_JSON)}\n\u2026 ${text.length - LONGEST_JSON} more characters`;
    details.append(foldable(text, label));
  });
  return details;
}
