/** One tool call as a card: what is done, how far it is, what it shows; questions about it stand in it. */

import { everySecond, noMore, span } from './asks.js';
import { counts, pathText } from './diff.js';
import { el, icon, reveal } from './dom.js';
import { formCard } from './form.js';
import { permissionCard } from './permission.js';
import { exitOf } from './terminal.js';
import { jsonBlock, shownOf, weigh } from './tool-content.js';

const ICONS = { read: 'file', edit: 'edit', delete: 'trash', move: 'exit', search: 'search', execute: 'terminal', think: 'brain', fetch: 'globe', switch_mode: 'refresh' };
const BY_NAME = { prompt_user: 'question', update_plan: 'check', apply_patch_review: 'edit' };
const KINDS = { read: 'Read', edit: 'Edit', delete: 'Delete', move: 'Move', search: 'Search', execute: 'Command', think: 'Thought', fetch: 'Fetch', switch_mode: 'Mode' };
// What is larger is folded when it is done, so that the conversation stays readable.
const ROWS_OPEN = 60;

/** @returns {{element: HTMLElement, update: (item: any, ctx: any) => void}} */
export function toolCard(item, ctx) {
  const status = el('span', { class: 'tool-status' });
  const title = el('span', { class: 'tool-title' });
  const mark = el('span', { class: 'tool-mark' });
  const facts = el('span', { class: 'tool-facts' });
  const summary = el('summary', { class: 'card-head' }, mark, title, facts, status, icon('chevron'));
  const body = el('div', { class: 'tool-body' });
  const details = el('details', { class: 'tool-details' }, summary, body);
  const asks = el('div', { class: 'tool-asks' });
  const element = el('article', { class: 'card tool' }, details, asks);
  const state = { began: null, parts: new Map(), asked: new Map(), touched: false, word: '' };
  summary.addEventListener('click', () => (state.touched = true));
  // What is folded is built when it is looked at.
  details.addEventListener('toggle', () => details.open && state.draw?.());

  function update(next, context) {
    const { call } = next;
    head(next);
    askAll(next, context);
    const waits = next.asks.some(isOpen);
    element.classList.toggle('waiting', waits);
    state.draw = () => drawBody(body, state, next, context);
    if (!state.touched) details.open = wantsOpen(next, waits);
    if (details.open) state.draw();
    element.dataset.status = statusOf(next).name;
    element.dataset.tool = call.name ?? call.kind ?? '';
  }

  function head({ call, ...rest }) {
    const kind = call.kind ?? 'other';
    const drawn = BY_NAME[call.name] ?? ICONS[kind] ?? 'tool';
    if (mark.dataset.icon !== drawn) {
      mark.dataset.icon = drawn;
      mark.replaceChildren(icon(drawn), el('span', { class: 'visually-hidden', text: `${KINDS[kind] ?? 'Tool'}: ` }));
    }
    const text = reveal(call.title || call.name || KINDS[kind] || 'Tool').trim();
    if (title.textContent !== text) title.textContent = text;
    title.title = text;
    title.classList.toggle('mono', kind === 'execute');
    const now = statusOf({ call, ...rest });
    if (state.word !== now.name) {
      // A call that ran already when its card was made has run nobody here knows how long.
      if (now.name === 'running' && state.word) state.began ??= Date.now();
      state.word = now.name;
      showStatus(status, now, state.began);
    }
    showFacts(facts, call);
  }

  function askAll({ asks: waiting }, context) {
    for (const ask of waiting) {
      const known = state.asked.get(ask.id);
      if (known) known.update(ask, context);
      else {
        const card = (ask.type === 'form' ? formCard : permissionCard)(ask, context, true);
        state.asked.set(ask.id, card);
        asks.append(card.element);
      }
    }
  }

  update(item, ctx);
  return { element, update };
}

const isOpen = (ask) => ask.answer === null && !ask.lapsed;

/** What a call is at: a name for the style, and words. */
export function statusOf({ call, asks = [], over = false, hand = null }) {
  if (asks.some(isOpen)) return { name: 'waiting', text: 'waits for you' };
  if (call.status === 'completed') return { name: 'done', text: 'done', icon: 'check' };
  const denied = asks.some((ask) => ask.type === 'question' && ask.answer?.decision === 'deny');
  if (call.status === 'failed') return denied ? { name: 'denied', text: 'denied', icon: 'x' } : { name: 'failed', text: 'failed', icon: 'x' };
  if (over) return { name: 'stopped', text: 'stopped', icon: 'stop' };
  if (hand && !hand.done) return { name: 'running', text: 'at a client' };
  return call.status === 'in_progress' ? { name: 'running', text: 'running' } : { name: 'pending', text: 'pending' };
}

function showStatus(status, now, began) {
  noMore(status);
  status.className = `tool-status ${now.name}`;
  const drawn = now.icon ? icon(now.icon) : el('span', { class: now.name === 'running' ? 'spinner' : 'dot', aria: { hidden: true } });
  const words = el('span', { class: 'tool-word', text: now.text });
  status.replaceChildren(drawn, words);
  if (now.name === 'running' && began !== null) {
    everySecond(status, (at) => (words.textContent = at - began < 1500 ? now.text : `${now.text} ${span(at - began)}`));
  } else if (began !== null && now.icon) {
    const took = Date.now() - began;
    if (took > 1500) words.textContent = `${now.text} in ${span(took)}`;
  }
}

function showFacts(facts, call) {
  const exit = call.status === 'completed' || call.status === 'failed' ? exitOf(call.rawOutput) : null;
  const changed = weigh(call.content);
  const key = JSON.stringify([exit, changed]);
  if (facts.dataset.key === key) return;
  facts.dataset.key = key;
  facts.replaceChildren();
  if (changed.added || changed.removed) facts.append(counts(changed));
  if (exit && !exit.good) facts.append(el('span', { class: 'badge bad', text: exit.text }));
}

function wantsOpen({ call, asks, over }, waits) {
  if (waits) return false; // what is asked about is shown by the question
  if (call.status === 'failed') return true;
  if (call.name === 'apply_patch_review' || call.name === 'update_plan' || call.name === 'prompt_user') return false;
  const { rows, terminals, ...changed } = weigh(call.content);
  if (terminals) return !over || call.status === 'completed';
  return Boolean(changed.added || changed.removed) && rows <= ROWS_OPEN && !asks.some((ask) => ask.type === 'form');
}

/** The body, part by part: a part is built anew only where it is another one. */
function drawBody(body, state, { call, over }, ctx) {
  const parts = [
    ['where', call.locations, () => places(call)],
    ['command', call.rawInput, () => commandOf(call)],
    ['content', call.content, () => shownOf(call, ctx)],
    ['input', call.rawInput, () => jsonBlock('Input', call.rawInput)],
    ['output', call.rawOutput, () => jsonBlock('Result', call.rawOutput)],
  ];
  let after = null;
  for (const [name, value, make] of parts) {
    let part = state.parts.get(name);
    if (part === undefined || part.value !== value) {
      const made = make();
      const fresh = { value, element: made?.element ?? made, update: made?.update };
      if (part?.element) part.element.remove();
      if (fresh.element) {
        if (after) after.after(fresh.element);
        else body.prepend(fresh.element);
      }
      state.parts.set(name, fresh);
      part = fresh;
    }
    part.update?.(ctx);
    after = part.element ?? after;
  }
  const bare = !body.childElementCount;
  body.classList.toggle('bare', bare);
  if (bare) body.dataset.empty = over || call.status === 'completed' ? 'Nothing more is known of it.' : 'Nothing to show yet.';
}

function places(call) {
  const shown = new Set((call.content ?? []).filter((part) => part?.type === 'diff').map((part) => part.path));
  const paths = (call.locations ?? []).filter((place) => typeof place?.path === 'string' && !shown.has(place.path));
  if (!paths.length) return null;
  return el('ul', { class: 'places', aria: { label: 'Where' } }, paths.slice(0, 50).map((place) =>
    el('li', {}, pathText(place.path), Number.isInteger(place.line) && el('span', { class: 'dim', text: `:${place.line}` }))));
}

/** The whole command, which the title may have cut. */
function commandOf(call) {
  const raw = call.rawInput;
  if (call.kind !== 'execute' || raw === null || typeof raw !== 'object') return null;
  const argv = Array.isArray(raw.argv) && raw.argv.length ? raw.argv : Array.isArray(raw.command) ? raw.command : null;
  const text = argv ? argv.map(quoted).join(' ') : raw.command;
  return typeof text === 'string' && text ? el('pre', { class: 'command', tabindex: 0, aria: { label: 'Command' }, text: reveal(text) }) : null;
}

function quoted(word) {
  const text = String(word);
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\"'\"'")}'`;
}
