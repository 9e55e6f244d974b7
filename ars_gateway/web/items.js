/** What person and agent said, as elements. Tool calls, questions and forms are cards.js's. */

import { copyButton, el, icon, reveal } from './dom.js';
import { MarkdownView } from './markdown.js';

const ENDS = {
  aborted: 'Stopped.',
  timeout: 'Stopped: it took too long.',
};
const REASONS = {
  max_tokens: 'The model’s answer was cut off: it reached its limit.',
  max_turn_requests: 'Stopped: too many steps for one turn.',
  refusal: 'The model refused to go on.',
};
const PROMPT_LINES = 14;
const PICTURES = new Set(['image/png', 'image/jpeg', 'image/webp', 'image/gif']);

/** The element of an item; `known` keeps what `updateItem` needs. */
export function renderItem(item, known) {
  switch (item.type) {
    case 'prompt': return prompt(item);
    case 'text': return text(item, known);
    case 'thought': return thought(item, known);
    case 'steer': return note('steer', 'send', 'You, meanwhile', item.text);
    case 'injected': return note('injected', 'down', 'Put in', item.text);
    case 'notice': return notice(item);
    default: return end(item);
  }
}

/** Shows how an item has grown. */
export function updateItem(item, known) {
  if (item.type === 'text') grow(item, known);
  else if (item.type === 'thought') think(item, known);
}

/** A prompt, as its person wrote it. */
export function prompt({ text: said, attachments = [] }) {
  const shown = reveal(said);
  const long = shown.length > 2000 || shown.split('\n').length > PROMPT_LINES;
  const body = el('div', { class: `prompt-text${long ? ' long' : ''}`, dir: 'auto', text: shown });
  const files = attachments.map(attached);
  const more = long && fold(body);
  return el('div', { class: 'prompt' }, body, more, files.length > 0 && el('div', { class: 'prompt-files' }, files));
}

/** Something that goes with a prompt: a small picture as that, everything else by its name. */
function attached(block) {
  const { mimeType, data = block.content, uri = '' } = block.resource ?? block;
  if (PICTURES.has(mimeType) && typeof data === 'string') {
    return el('img', { class: 'prompt-picture', src: `data:${mimeType};base64,${data}`, alt: 'Attached picture' });
  }
  const name = block.fileName ?? block.name ?? uri.replace(/^attachment:/, '').split('/').at(-1);
  return el('span', { class: 'badge' }, icon('clip'), reveal(name || mimeType || block.type || 'file'));
}

function fold(body) {
  const button = el('button', { type: 'button', class: 'button quiet small', aria: { expanded: false }, text: 'Show all' });
  button.addEventListener('click', () => {
    const open = body.classList.toggle('open');
    button.setAttribute('aria-expanded', String(open));
    button.textContent = open ? 'Show less' : 'Show all';
  });
  return button;
}

function text(item, known) {
  known.view = new MarkdownView();
  known.taken = 0;
  const copy = copyButton(() => known.view.text, 'Copy');
  copy.classList.add('said-copy');
  const element = el('div', { class: 'said' }, known.view.element, copy);
  grow(item, known);
  return element;
}

function grow(item, known) {
  if (known.taken < item.pieces.length) {
    known.view.append(item.pieces.slice(known.taken).join(''));
    known.taken = item.pieces.length;
  }
  known.view.element.classList.toggle('growing', !item.done);
  if (item.done && !known.finished) {
    known.finished = true;
    known.view.finish();
  }
}

/** Thoughts are folded; they are drawn only while somebody looks at them. */
function thought(item, known) {
  known.label = el('span', { text: 'Thinking' });
  known.preview = el('span', { class: 'thought-preview dim' });
  known.body = el('div', { class: 'thought-body' });
  const summary = el('summary', {}, icon('chevron'), known.label, known.preview);
  const element = el('details', { class: 'thought' }, summary, known.body);
  known.element = element;
  element.addEventListener('toggle', () => element.open && reflect(item, known));
  think(item, known);
  return element;
}

function think(item, known) {
  known.element.classList.toggle('live', !item.done);
  known.label.textContent = item.done ? 'Thought' : 'Thinking';
  const last = lastLine(item.pieces);
  if (known.preview.textContent !== last) known.preview.textContent = last;
  if (known.element.open) reflect(item, known);
}

function reflect(item, known) {
  if (known.view === undefined) {
    known.view = new MarkdownView();
    known.taken = 0;
    known.body.append(known.view.element);
  }
  grow(item, known);
}

function lastLine(pieces) {
  let tail = '';
  for (let at = pieces.length - 1; at >= 0 && tail.length < 400; at -= 1) tail = pieces[at] + tail;
  const lines = tail.split('\n').filter((line) => line.trim());
  return reveal((lines.at(-1) ?? '').trim().replace(/[*`#]/g, '').slice(0, 160));
}

function note(kind, sign, who, said) {
  return el('div', { class: `note ${kind}` }, el('span', { class: 'note-who dim' }, icon(sign), who), el('div', { class: 'prompt-text', dir: 'auto', text: reveal(said) }));
}

function notice({ severity = 'info', title, description }) {
  const words = [el('strong', { text: reveal(title ?? 'Notice') })];
  if (description) words.push(' ', reveal(description));
  return el('div', { class: `notice ${severity}`, role: 'note' }, words);
}

function end({ state, stopReason, error }) {
  if (state === 'error') {
    const why = error?.message ?? 'The turn has failed.';
    return el('div', { class: 'notice error', role: 'note' }, el('strong', { text: 'Failed' }), ' ', reveal(why));
  }
  const said = ENDS[state] ?? REASONS[stopReason] ?? (stopReason ? `Ended: ${reveal(stopReason)}` : 'Ended.');
  return el('div', { class: 'notice quiet', role: 'note', text: said });
}
