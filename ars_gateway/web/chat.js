/**
 * The conversation: turns, and what is in them, drawn once and changed where they change. It stays at its end as long
 * as the person does; else a button says that there is more below.
 */

import { renderEntry, updateEntry } from './cards.js';
import { announce, el, icon, toast } from './dom.js';
import { prompt, renderItem, updateItem } from './items.js';
import { markdown } from './markdown.js';

const CARDS = new Set(['tool', 'question', 'form']);
const NEAR = 48; // pixels from the end that count as being there
const OLDER_AT = 600;
const TOUCH_MS = 1500; // so long after a touch or a key it is the person who scrolls

/** The view of the session that is shown. */
export class ChatView {
  #chat = null;
  #turns = new Map(); // turn id → {element, body, foot, items}
  #items = new Map(); // item → {element, …}
  #stuck = true;
  #touched = 0; // when the person last moved something
  #count = 0;

  constructor(app, focusComposer) {
    this.app = app;
    this.focusComposer = focusComposer;
    this.older = el('div', { class: 'older dim', hidden: true, text: 'Loading what came before…' });
    this.thread = el('div', { class: 'thread' });
    this.outbox = el('div', { class: 'outbox' });
    this.empty = el('div', { class: 'empty-chat', hidden: true });
    const inner = el('div', { class: 'column' }, this.older, this.empty, this.thread, this.outbox);
    this.scroll = el('div', { class: 'scroll', tabindex: '0', role: 'region', aria: { label: 'Conversation' } }, inner);
    this.below = el('button', { type: 'button', class: 'below button', hidden: true, on: { click: () => this.toEnd() } }, icon('down'), el('span', { text: 'New below' }));
    this.element = el('div', { class: 'conversation' }, this.scroll, this.below);
    this.scroll.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    for (const name of ['wheel', 'touchmove', 'keydown', 'pointerdown']) {
      this.scroll.addEventListener(name, () => (this.#touched = Date.now()), { passive: true });
    }
    const sizes = new ResizeObserver(() => this.#resized());
    sizes.observe(this.scroll);
    sizes.observe(inner);
    app.store.on('chat', () => this.update());
    setInterval(() => this.#tick(), 1000);
  }

  /** Draws what has changed. */
  update() {
    const { store } = this.app;
    const chat = store.chat;
    if (chat !== this.#chat || chat?.key !== this.#chat?.key) this.#begin(chat);
    this.#drawEmpty(chat);
    const grown = chat === null ? false : this.#draw(chat);
    const sent = this.#drawOutbox(store.outbox.get(store.current) ?? []);
    if (sent) this.#stuck = true;
    if (this.#stuck) this.#jump();
    else if (grown) this.below.hidden = false;
  }

  /** Goes to the end, and stays there. */
  toEnd() {
    this.#stuck = true;
    this.#jump();
    this.below.hidden = true;
  }

  /** Shows what waits for the person, and puts the focus there. */
  toWaiting() {
    const ask = this.#chat?.waiting[0];
    const shown = ask && this.#items.get(ask.tool ?? ask);
    if (!shown) return;
    this.#stuck = false;
    const target = shown.element.querySelector('[data-primary]') ?? shown.element.querySelector('button, input');
    // A card may be longer than the page is high: what is to be answered first is what has to be seen.
    (target ?? shown.element).scrollIntoView({ block: 'center' });
    target?.focus({ preventScroll: true });
    this.#stuck = this.#near();
  }

  /** Scrolls by so many pages. */
  page(by) {
    this.#touched = Date.now();
    this.scroll.scrollBy({ top: by * this.scroll.clientHeight * 0.85 });
  }

  // ── drawing ──

  #begin(chat) {
    this.#chat = chat;
    this.#turns.clear();
    this.#items.clear();
    this.thread.replaceChildren();
    this.#stuck = true;
    this.below.hidden = true;
    if (chat === null) return;
    chat.takeChanged();
    for (const turn of chat.turns) this.#turn(turn);
  }

  #draw(chat) {
    const changed = chat.takeChanged();
    const before = this.#count;
    const high = this.scroll.scrollHeight;
    const inFront = chat.turns.length > 0 && this.#turns.size > 0 && !this.#turns.has(chat.turns[0].id);
    let previous = null;
    for (const turn of chat.turns) {
      const shown = this.#turns.get(turn.id) ?? this.#turn(turn, previous);
      if (shown.size !== turn.items.length) this.#sync(turn, shown);
      this.#state(turn, shown, chat);
      previous = shown.element;
    }
    for (const item of changed) this.#change(item);
    this.older.hidden = chat.older === null || !chat.loading;
    if (inFront && this.scroll.scrollTop < 4) this.scroll.scrollTop += this.scroll.scrollHeight - high;
    return this.#count !== before || changed.size > 0;
  }

  #turn(turn, previous = this.thread.lastElementChild) {
    const body = el('div', { class: 'turn-body' });
    const foot = el('div', { class: 'turn-foot', hidden: true });
    const element = el('section', { class: 'turn', aria: { label: 'Turn' } }, body, foot);
    if (previous === null) this.thread.prepend(element);
    else previous.after(element);
    const shown = { element, body, foot, size: 0, state: '' };
    this.#turns.set(turn.id, shown);
    this.#sync(turn, shown);
    this.#state(turn, shown, this.#chat);
    return shown;
  }

  /** Gives each item of a turn its place; items that went into another one's card go. */
  #sync(turn, shown) {
    shown.size = turn.items.length;
    let at = shown.body.firstElementChild;
    for (const item of turn.items) {
      const known = this.#items.get(item) ?? this.#make(item);
      if (known.element === at) at = at.nextElementSibling;
      else shown.body.insertBefore(known.element, at);
    }
    while (at !== null) {
      const next = at.nextElementSibling;
      at.remove();
      at = next;
    }
  }

  #make(item) {
    const known = { element: null, rev: item.rev };
    known.element = CARDS.has(item.type) ? renderEntry(item, this.#context(item)) : renderItem(item, known);
    known.element.classList.add('item');
    this.#items.set(item, known);
    this.#count += 1;
    return known;
  }

  #change(item) {
    const known = this.#items.get(item);
    if (known === undefined || known.rev === item.rev) return;
    known.rev = item.rev;
    if (CARDS.has(item.type)) updateEntry(known.element, item, this.#context(item));
    else updateItem(item, known);
  }

  #context(item) {
    const { app } = this;
    const chat = this.#chat;
    return {
      sessionKey: chat.key,
      live: chat.turns.some((turn) => turn.run === item.run && turn.end === null),
      terminal: (id) => chat.terminals.get(id) ?? null,
      decide: (id, { optionId, decision }) =>
        optionId === undefined ? app.request('exec.approval.resolve', { id, decision }) : app.request('_ars.approval.choose', { id, optionId }),
      fill: (id, action, content) => app.request('_ars.elicitation.resolve', content ? { id, action, content } : { id, action }),
      mayDecide: app.store.may('approvals'),
      markdown,
      announce,
      toast,
      focusComposer: this.focusComposer,
    };
  }

  /** What stands below a turn: that it goes on, or that it waits behind another one. */
  #state(turn, shown, chat) {
    const open = turn.end === null;
    const first = open && chat.open[0] === turn;
    const state = open ? (first ? 'running' : 'queued') : 'over';
    if (shown.state === state) return;
    shown.state = state;
    shown.element.classList.toggle('queued', state === 'queued');
    shown.element.classList.toggle('over', state === 'over');
    shown.foot.hidden = !open;
    if (state === 'running') this.#running(turn, shown);
    else if (state === 'queued') this.#queued(turn, shown);
    else shown.foot.replaceChildren();
  }

  #running(turn, shown) {
    shown.since = Date.now();
    shown.clock = el('span', { class: 'dim' });
    shown.foot.replaceChildren(el('span', { class: 'spinner', aria: { hidden: true } }), el('span', { class: 'dim', text: 'Working' }), shown.clock);
  }

  #queued(turn, shown) {
    const cancel = el('button', { type: 'button', class: 'button quiet small', text: 'Take back' });
    cancel.addEventListener('click', () => this.app.sending.abort(this.#chat.key, turn.run));
    shown.foot.replaceChildren(el('span', { class: 'badge', text: 'Queued' }), cancel);
  }

  #tick() {
    for (const { state, clock, since } of this.#turns.values()) {
      if (state === 'running') clock.textContent = elapsed(Date.now() - since);
    }
  }

  #drawOutbox(prompts) {
    const known = new Set([...this.outbox.children].map((element) => element.dataset.id));
    const shown = prompts.map((it) => this.#outgoing(it));
    this.outbox.replaceChildren(...shown);
    return prompts.some((it) => !known.has(it.id));
  }

  #outgoing(it) {
    const key = this.app.store.current;
    const words = { sending: 'Sending…', sent: '', waiting: 'Waits for the connection', failed: `Not sent: ${it.why}` }[it.state];
    const act = (label, run) => el('button', { type: 'button', class: 'button quiet small', text: label, on: { click: run } });
    const failed = it.state === 'failed' && [act('Try again', () => this.app.sending.again(key, it)), act('Discard', () => this.app.sending.discard(key, it))];
    const foot = el('div', { class: `turn-foot ${it.state}` }, el('span', { class: 'dim', text: words }), failed);
    return el('section', { class: 'turn', data: { id: it.id } }, el('div', { class: 'turn-body' }, prompt(it)), foot);
  }

  #drawEmpty(chat) {
    const { store } = this.app;
    const why = store.failed.get(store.current);
    const bare = chat !== null && chat.turns.length === 0 && !(store.outbox.get(store.current)?.length > 0);
    this.empty.hidden = !(bare || (chat === null && why));
    if (this.empty.hidden) return;
    const name = this.app.agent.name || this.app.agent.id;
    const keyboard = matchMedia('(pointer: coarse)').matches ? '' : ', Esc and then ? for the keyboard';
    const words = why
      ? [el('h2', { text: 'This session cannot be shown' }), el('p', { class: 'dim', text: why })]
      : [el('h2', { text: 'What shall be done?' }), el('p', { class: 'dim', text: `${name} answers here. Type / for commands${keyboard}.` })];
    this.empty.replaceChildren(...words);
  }

  // ── scrolling ──

  /** What grows by itself keeps its end in sight; what a person has just opened does not run away from them. */
  #resized() {
    if (this.#stuck && Date.now() - this.#touched > TOUCH_MS) this.#jump();
  }

  #jump() {
    this.scroll.scrollTop = this.scroll.scrollHeight;
  }

  /** Whether the end can be seen, or nearly. */
  #near() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroll;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }

  #scrolled() {
    // What is drawn only now has its real height only now: that moves the end away, though nobody left it.
    if (this.#near()) this.#stuck = true;
    else if (Date.now() - this.#touched < TOUCH_MS) this.#stuck = false;
    else if (this.#stuck) this.#jump();
    if (this.#stuck) this.below.hidden = true;
    if (this.scroll.scrollTop < OLDER_AT && this.#chat !== null && this.#chat.older !== null) this.app.older(this.#chat);
  }
}

function elapsed(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 3) return '';
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
