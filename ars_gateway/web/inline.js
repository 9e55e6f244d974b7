/**
 * The inside of a Markdown paragraph, pure: text in, a list of strings and nodes out. A node is
 * {type: code|em|strong|del|link|break, text?, href?, children?}. What is no Markdown, HTML above all, stays text.
 */

import { reveal, safeHref } from './dom.js';

const MOST_MARKS = 2000;
const DEEPEST = 24;
const PUNCTUATION = /[!-/:-@[-`{-~]/;
const WIDE_PUNCTUATION = /[\p{P}\p{S}]/u;
const SPACE = /\s/;
const URL_START = /https?:\/\/[^\s<>"'`\\]+/y;
const ANGLE_LINK = /<((?:https?:\/\/|mailto:)[^\s<>]+)>/y;
const ENTITY = /&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|(amp|lt|gt|quot|apos|nbsp|copy|mdash|ndash|hellip|rarr|larr|times));/y;
const NAMED = {
  amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0', copy: '©', mdash: '—', ndash: '–', hellip: '…',
  rarr: '→', larr: '←', times: '×',
};

/** The nodes of `text`. */
export function inlines(text) {
  return new Scan(text).nodes();
}

class Scan {
  constructor(text, depth = 0) {
    this.text = text;
    this.depth = depth;
    this.at = 0;
    this.words = '';
    this.parts = []; // strings, nodes, and marks {mark, count, open, close}
    this.brackets = [];
    this.marks = 0;
    this.ticks = null;
  }

  nodes() {
    while (this.at < this.text.length) this.step(this.text[this.at]);
    this.flush();
    return joined(emphasised(this.parts));
  }

  step(char) {
    if (char === '\\') this.escape();
    else if (char === '`') this.code();
    else if (char === '\n') this.lineEnd();
    else if (char === '*' || char === '_' || char === '~') this.emphasis(char);
    else if (char === '[') this.open(1);
    else if (char === '!' && this.text[this.at + 1] === '[') this.open(2);
    else if (char === ']') this.close();
    else if (char === '<') this.angle();
    else if (char === '&') this.entity();
    else if (char === 'h') this.bare();
    else this.say(char);
  }

  say(words, size = words.length) {
    this.words += words;
    this.at += size;
  }

  flush() {
    if (this.words) this.parts.push(this.words);
    this.words = '';
  }

  put(node, size) {
    this.flush();
    this.parts.push(node);
    this.at += size;
  }

  escape() {
    const next = this.text[this.at + 1];
    if (next === '\n') this.put({ type: 'break' }, 2);
    else if (next !== undefined && PUNCTUATION.test(next)) this.say(next, 2);
    else this.say('\\');
  }

  lineEnd() {
    this.words = this.words.replace(/ +$/, '');
    this.put({ type: 'break' }, 1);
    while (this.text[this.at] === ' ') this.at += 1;
  }

  code() {
    const size = run(this.text, this.at, '`');
    const end = this.closing(size);
    if (end < 0) return this.say('`'.repeat(size));
    const inner = this.text.slice(this.at + size, end).replaceAll('\n', ' ');
    const text = /^ .* $/.test(inner) && inner.trim() ? inner.slice(1, -1) : inner;
    return this.put({ type: 'code', text }, end + size - this.at);
  }

  /** Where the next run of exactly `size` backticks begins. All runs are found once, so that many cost no square. */
  closing(size) {
    if (this.ticks === null) {
      this.ticks = new Map();
      for (const found of this.text.matchAll(/`+/g)) {
        const places = this.ticks.get(found[0].length) ?? [];
        places.push(found.index);
        this.ticks.set(found[0].length, places);
      }
    }
    const places = this.ticks.get(size) ?? [];
    while (places.length && places[0] < this.at + size) places.shift();
    return places[0] ?? -1;
  }

  emphasis(char) {
    const count = run(this.text, this.at, char);
    const before = this.text[this.at - 1] ?? ' ';
    const after = this.text[this.at + count] ?? ' ';
    const known = char !== '~' || count === 2;
    this.marks += 1;
    if (!known || this.marks > MOST_MARKS) return this.say(char.repeat(count));
    const left = flanks(after, before);
    const right = flanks(before, after);
    const wordy = char === '_';
    const open = left && (!wordy || !right || WIDE_PUNCTUATION.test(before));
    const close = right && (!wordy || !left || WIDE_PUNCTUATION.test(after));
    return this.put({ mark: char, count, open, close }, count);
  }

  open(size) {
    this.flush();
    this.brackets.push({ part: this.parts.length, at: this.at, size });
    this.parts.push(this.text.slice(this.at, this.at + size));
    this.at += size;
    if (this.brackets.length > MOST_MARKS) this.brackets.shift();
  }

  close() {
    const opener = this.brackets.pop();
    const target = opener && destination(this.text, this.at + 1);
    if (!target) return this.say(']');
    const href = safeHref(target.href);
    const label = this.text.slice(opener.at + opener.size, this.at);
    const shown = this.depth < DEEPEST ? new Scan(label, this.depth + 1).nodes() : [label];
    this.words = '';
    this.parts.length = opener.part;
    const children = flattened(shown.length ? shown : [target.href]);
    // What leads nowhere that a page may follow is shown with its address, so that nothing is hidden.
    if (href === null) return this.put([...children, ` (${reveal(target.href)})`], target.end - this.at);
    return this.put({ type: 'link', href, children }, target.end - this.at);
  }

  angle() {
    ANGLE_LINK.lastIndex = this.at;
    const found = ANGLE_LINK.exec(this.text);
    const href = found && safeHref(found[1]);
    if (!href) return this.say('<');
    return this.put({ type: 'link', href, children: [found[1]] }, found[0].length);
  }

  bare() {
    URL_START.lastIndex = this.at;
    const found = /\w/.test(this.text[this.at - 1] ?? ' ') ? null : URL_START.exec(this.text);
    if (found === null) return this.say('h');
    const address = trimmed(found[0]);
    const href = safeHref(address);
    if (href === null) return this.say('h');
    return this.put({ type: 'link', href, children: [address] }, address.length);
  }

  entity() {
    ENTITY.lastIndex = this.at;
    const found = ENTITY.exec(this.text);
    if (found === null) return this.say('&');
    const code = found[1] ? Number(found[1]) : Number.parseInt(found[2] ?? '0', 16);
    const char = found[3] ? NAMED[found[3]] : code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd';
    return this.say(reveal(char), found[0].length);
  }
}

function run(text, from, char) {
  let end = from;
  while (text[end] === char) end += 1;
  return end - from;
}

/** Whether a run of marks stands right before `near` (seen from the other side: right behind), as CommonMark has it. */
function flanks(near, far) {
  if (SPACE.test(near)) return false;
  return !WIDE_PUNCTUATION.test(near) || SPACE.test(far) || WIDE_PUNCTUATION.test(far);
}

/** An address without the marks of the sentence that it stands in. */
function trimmed(address) {
  let found = address.replace(/[.,;:!?*_~|]+$/, '');
  while (found.endsWith(')') && found.split(')').length > found.split('(').length) found = found.slice(0, -1);
  while (found.endsWith(']') && !found.includes('[')) found = found.slice(0, -1);
  return found.replace(/[.,;:!?]+$/, '');
}

const TARGET = /\(\s*(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.)*\))*))(?:\s+(?:"[^"]*"|'[^']*'|\([^()]*\)))?\s*\)/y;

function destination(text, at) {
  if (text[at] !== '(') return null;
  TARGET.lastIndex = at;
  const found = TARGET.exec(text);
  return found && { href: (found[1] ?? found[2]).replace(/\\([!-/:-@[-`{-~])/g, '$1'), end: TARGET.lastIndex };
}

/** Links within links are their texts. */
function flattened(nodes) {
  return nodes.flatMap((node) => (node.type === 'link' ? flattened(node.children) : [node]));
}

/** Pairs the marks in `parts` off (CommonMark, "process emphasis"), and makes nodes of what is between them. */
function emphasised(parts) {
  const found = [];
  const openers = []; // indexes into `found`
  for (const part of parts.flat()) {
    if (typeof part === 'string' || part.mark === undefined) found.push(part);
    else closeWith({ ...part }, found, openers);
  }
  return found.map((part) => (part.mark === undefined ? part : part.mark.repeat(part.count)));
}

function closeWith(mark, found, openers) {
  while (mark.close && mark.count > 0) {
    const place = openers.findLastIndex((index) => fits(found[index], mark));
    if (place < 0) break;
    const index = openers[place];
    const opener = found[index];
    const used = opener.count >= 2 && mark.count >= 2 ? 2 : 1;
    openers.length = place + (opener.count > used ? 1 : 0);
    const inner = found.splice(index + 1).map((it) => (it.mark === undefined ? it : it.mark.repeat(it.count)));
    opener.count -= used;
    mark.count -= used;
    if (opener.count === 0) found.pop();
    found.push({ type: kind(mark.mark, used), children: joined(inner) });
  }
  if (mark.count === 0) return;
  if (mark.open) openers.push(found.length);
  found.push(mark);
}

function fits(opener, closer) {
  if (opener.mark !== closer.mark) return false;
  const both = opener.close || closer.open;
  return !both || (opener.count + closer.count) % 3 !== 0 || (opener.count % 3 === 0 && closer.count % 3 === 0);
}

function kind(char, used) {
  if (char === '~') return 'del';
  return used === 2 ? 'strong' : 'em';
}

/** `nodes` with strings that follow each other joined. */
function joined(nodes) {
  const found = [];
  for (const node of nodes) {
    if (typeof node === 'string' && typeof found.at(-1) === 'string') found[found.length - 1] += node;
    else found.push(node);
  }
  return found;
}
