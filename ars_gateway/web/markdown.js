/**
 * Markdown shown as it arrives. What is done is not touched again: only the last block is read anew with each piece,
 * and of a fence that is open only the new lines are added. Blocks stand in chunks, so that the browser passes over
 * those that are out of sight.
 */

import { closes, fence, inFence, parse } from './blocks.js';
import { copyButton, el, reveal } from './dom.js';
import { inlines } from './inline.js';

const CHUNK_ROWS = 40; // blocks in a chunk, the items of lists and the rows of tables counted each
const CHUNK_LINES = 120;
// What took longer than this to show is shown again only after so many times as long.
const SLOW_MS = 12;
const REST = 6;
// Items, rows or lines of a block that stand in one element.
const PART = 40;

/** A finished text. */
export function markdown(text) {
  const view = new MarkdownView();
  view.append(text);
  view.finish();
  return view.element;
}

/** A text that grows by `append`, until `finish`. Its DOM is `element`; `text` is all of it, as it was written. */
export class MarkdownView {
  #chunk = null;
  #rows = 0;
  #pending = ''; // from the first line of the last block on
  #tail = []; // what is shown of the pending block: {spelled, element, chunk, rows}
  #due = 0;
  #timer = 0;
  #open = null; // the fence that is being filled: {opened, view, partial}
  #pieces = [];
  #held = '';

  constructor() {
    this.element = el('div', { class: 'markdown' });
  }

  get text() {
    if (this.#pieces.length > 1) this.#pieces = [this.#pieces.join('')];
    return this.#pieces[0] ?? '';
  }

  /** The next piece. */
  append(piece) {
    if (!piece) return;
    this.#pieces.push(piece);
    const text = this.#held + piece;
    // Half a line end tells nothing yet.
    this.#held = text.endsWith('\r') ? '\r' : '';
    this.#take(reveal(this.#held ? text.slice(0, -1) : text));
  }

  /** Nothing more comes. */
  finish() {
    if (this.#timer) {
      this.#due = 0;
      this.#settle();
    }
    if (this.#open !== null) this.#open.view.finish(this.#open.partial);
    this.#open = null;
    this.#tail = [];
    this.#pending = '';
    this.element.classList.remove('growing');
  }

  #take(text) {
    const rest = this.#open === null ? text : this.#fill(text);
    if (rest === null) return;
    this.#pending += rest;
    this.#settle();
  }

  /** Shows what is pending, unless that took long a moment ago: then when the moment is over. */
  #settle() {
    const began = performance.now();
    if (began < this.#due) {
      this.#timer ||= setTimeout(() => this.#settle(), this.#due - began);
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#show();
    const took = performance.now() - began;
    this.#due = took > SLOW_MS ? began + took * REST : 0;
  }

  /** Shows what is pending; blocks that can change no more are let go of. */
  #show() {
    const lines = this.#pending.split('\n');
    const blocks = parse(lines);
    const last = blocks.at(-1);
    if (last === undefined) return;
    const start = last.start;
    const opened = last.type === 'code' && !last.closed && start < lines.length - 1 ? fence(lines[start]) : null;
    if (opened !== null) blocks.pop();
    this.#draw(blocks);
    if (opened !== null) this.#begin(opened, lines.slice(start + 1).join('\n'));
    else this.#pending = lines.slice(start).join('\n');
  }

  /** Draws blocks in the place of those that were pending; what is the same stays. */
  #draw(blocks) {
    for (const block of blocks) delete block.start;
    const drawn = blocks.map(parts);
    const wanted = drawn.flat();
    const growing = drawn.at(-1)?.length ?? 0;
    const spelled = wanted.map((part, at) =>
      at < this.#tail.length || at >= wanted.length - growing ? JSON.stringify(part) : '',
    );
    let same = 0;
    while (same < wanted.length && this.#tail[same]?.spelled === spelled[same]) same += 1;
    this.#cut(same);
    for (let at = same; at < wanted.length; at += 1) {
      this.#tail.push({ spelled: spelled[at], ...this.#place(render(wanted[at])) });
    }
    this.#tail = this.#tail.slice(this.#tail.length - growing);
  }

  /** Takes away what is pending from number `from` on, and the chunks that were begun for it. */
  #cut(from) {
    const first = this.#tail[from];
    if (first === undefined) return;
    for (const { element } of this.#tail.slice(from)) element.remove();
    this.#tail.length = from;
    while (this.element.lastElementChild !== first.chunk) this.element.lastElementChild.remove();
    this.#chunk = first.chunk;
    this.#rows = first.rows;
  }

  /** Puts an element at the end; returns it, and how it stood before. */
  #place(element) {
    const before = { element, chunk: this.#chunk, rows: this.#rows };
    if (this.#chunk === null || this.#rows >= CHUNK_ROWS) {
      this.#chunk = el('div', { class: 'chunk' });
      this.#rows = 0;
      this.element.append(this.#chunk);
    }
    this.#rows += Math.max(1, element.querySelectorAll('li, tr, br').length);
    this.#chunk.append(element);
    return before;
  }

  // ── an open fence ──

  #begin(opened, text) {
    const view = new CodeView(opened.lang);
    this.#place(view.element);
    this.#open = { opened, view, partial: '' };
    this.#tail = [];
    this.#pending = '';
    const rest = this.#fill(text);
    if (rest !== null) {
      this.#pending = rest;
      this.#settle();
    }
  }

  /** Adds lines to the open fence. Returns what comes behind its end, or null while there is none. */
  #fill(text) {
    const { opened, view } = this.#open;
    const lines = (this.#open.partial + text).split('\n');
    const partial = lines.pop();
    const end = lines.findIndex((line) => closes(line, opened));
    view.add((end < 0 ? lines : lines.slice(0, end)).map((line) => inFence(line, opened)));
    if (end < 0) {
      this.#open.partial = partial;
      // What may become the closing fence is not shown as a line of code.
      view.partial(/^ {0,3}[`~]*$/.test(partial) ? '' : inFence(partial, opened));
      return null;
    }
    view.finish('');
    this.#open = null;
    return [...lines.slice(end + 1), partial].join('\n');
  }
}

/** A block of code: its language, a button that copies it, its lines in chunks. */
class CodeView {
  #lines = [];
  #chunk = null;
  #count = 0;
  #last = document.createTextNode('');

  constructor(lang) {
    this.code = el('code', { class: lang ? `language-${lang.replace(/[^\w+#.-]/g, '').slice(0, 20)}` : null });
    const copy = copyButton(() => this.#lines.join('\n'));
    const head = el('div', { class: 'code-head' }, el('span', { class: 'dim', text: lang }), copy);
    const scroll = el('pre', { tabindex: '0', aria: { label: lang ? `Code, ${lang}` : 'Code' } }, this.code);
    this.element = el('div', { class: 'code', dir: 'ltr' }, head, scroll);
  }

  /** Whole lines. */
  add(lines) {
    if (lines.length === 0) return;
    this.#last.remove();
    for (let at = 0; at < lines.length; ) {
      if (this.#chunk === null || this.#count >= CHUNK_LINES) this.#open();
      const some = lines.slice(at, at + CHUNK_LINES - this.#count);
      this.#chunk.append(`${some.join('\n')}\n`);
      this.#count += some.length;
      at += some.length;
    }
    for (const line of lines) this.#lines.push(line);
    this.#last.data = '';
  }

  /** The line that is being written. */
  partial(line) {
    this.#last.data = line;
    if (this.#chunk === null) this.#open();
    if (this.#last.parentNode !== this.#chunk) this.#chunk.append(this.#last);
  }

  /** Nothing more comes but, perhaps, one line without an end. */
  finish(line) {
    this.#last.remove();
    if (line) this.add([line]);
  }

  #open() {
    this.#chunk = el('span', { class: 'code-chunk' });
    this.#count = 0;
    this.code.append(this.#chunk);
  }
}

// ── blocks ──

/** A block that is very long in several, so that the browser can pass over those that are out of sight. */
function parts(block) {
  const rows = { list: block.items, quote: block.blocks, table: block.rows }[block.type];
  if (block.type === 'paragraph') {
    const lines = block.text.split('\n');
    return slices(lines).map((some) => ({ ...block, text: some.join('\n') }));
  }
  if (rows === undefined || rows.length <= PART) return [block];
  const name = { list: 'items', quote: 'blocks', table: 'rows' }[block.type];
  const first = (at) => (block.ordered ? { first: block.first + at * PART } : {});
  return slices(rows).map((some, at) => ({ ...block, [name]: some, ...first(at) }));
}

function slices(rows) {
  const found = [];
  for (let at = 0; at < rows.length; at += PART) found.push(rows.slice(at, at + PART));
  return found;
}

function render(block) {
  switch (block.type) {
    case 'heading':
      // A page's own headings are h1 and h2.
      return el(`h${Math.min(block.level + 2, 6)}`, { class: `level-${block.level}` }, inner(block.text));
    case 'code':
      return code(block);
    case 'quote':
      return el('blockquote', {}, block.blocks.map(render));
    case 'list':
      return list(block);
    case 'table':
      return table(block);
    case 'rule':
      return el('hr', {});
    default:
      return el('p', {}, inner(block.text));
  }
}

function code(block) {
  const view = new CodeView(block.lang);
  view.add(block.lines);
  return view.element;
}

function list(block) {
  const start = block.ordered && block.first !== 1 ? block.first : null;
  return el(block.ordered ? 'ol' : 'ul', { start }, block.items.map((it) => item(it, block.tight)));
}

function item({ isTask, task, blocks }, tight) {
  const box = isTask && el('input', { type: 'checkbox', checked: task, disabled: true, aria: { label: task ? 'done' : 'to do' } });
  const parts = blocks.map((block) => (tight && block.type === 'paragraph' ? inner(block.text) : render(block)));
  return el('li', { class: isTask ? 'task' : null }, box, parts);
}

function table({ aligns, head, rows }) {
  const cell = (tag) => (text, column) => el(tag, { class: aligns[column] && `to-${aligns[column]}` }, inner(text));
  const top = el('thead', {}, el('tr', {}, head.map(cell('th'))));
  const body = el('tbody', {}, rows.map((row) => el('tr', {}, row.map(cell('td')))));
  return el('div', { class: 'table-scroll', tabindex: '0', role: 'group', aria: { label: 'Table' } }, el('table', {}, top, body));
}

function inner(text) {
  return inlines(text).map(node);
}

function node(it) {
  if (typeof it === 'string') return it;
  if (it.type === 'break') return el('br', {});
  if (it.type === 'code') return el('code', { class: 'inline', text: it.text });
  if (it.type === 'link') return el('a', { href: it.href, title: it.href }, it.children.map(node));
  return el(it.type, {}, it.children.map(node));
}
