/** Where a person writes: Enter sends, Shift+Enter begins a line; while a turn goes on it queues, steers or stops. */

import { Attachments } from './attach.js';
import { el, icon } from './dom.js';
import { Pickers } from './pickers.js';
import { SlashMenu } from './slash.js';

const DRAFTS = 'ars.drafts';

/** The composer of the session that is shown. `said` is called when something was. */
export class Composer {
  #key = null;
  #drafts = drafts();
  #back = -1; // how many prompts back in history; -1: at what is being written
  #written = '';

  constructor(app, said) {
    this.app = app;
    this.said = said;
    this.attachments = new Attachments(() => app.store.hello?.policy?.maxPayload ?? 512 * 1024);
    this.text = el('textarea', {
      id: 'composer', rows: '1', placeholder: 'Message the agent', spellcheck: 'true', enterkeyhint: 'send',
      autocomplete: 'off', dir: 'auto', aria: { label: 'Message', describedby: 'composer-hint' },
    });
    this.slash = new SlashMenu(this.text, () => this.#commands(), () => this.#grown());
    this.pickers = new Pickers(app);
    this.hint = el('span', { id: 'composer-hint', class: 'visually-hidden' });
    this.steer = el('button', { type: 'button', class: 'button small steer', title: 'Steer: say it into the running turn (Ctrl+Enter)', on: { click: () => this.#submit(true) } }, 'Steer');
    this.send = el('button', { type: 'submit', class: 'send-button', aria: { label: 'Send' }, title: 'Send (Enter)' }, icon('send'));
    this.stop = el('button', { type: 'button', class: 'send-button stop', aria: { label: 'Stop' }, title: 'Stop (Esc)', on: { click: () => this.abort() } }, icon('stop'));
    this.attach = el('button', { type: 'button', class: 'icon-button', title: 'Attach files', aria: { label: 'Attach files' }, on: { click: () => this.attachments.pick() } }, icon('clip'));
    const tools = el('div', { class: 'composer-tools' }, this.attach, this.pickers.element, el('span', { class: 'grow' }), this.pickers.usage, this.steer, this.stop, this.send);
    this.box = el('form', { class: 'composer', on: { submit: (event) => this.#submitted(event) } }, this.attachments.element, this.attachments.input, this.text, this.slash.element, tools, this.hint);
    this.element = this.box;
    this.#listen();
    app.store.on('chat', () => this.update());
    app.store.on('phase', () => this.update());
  }

  #listen() {
    this.text.addEventListener('input', () => this.#grown());
    this.text.addEventListener('keydown', (event) => this.#keyed(event));
    this.text.addEventListener('paste', (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length === 0) return;
      event.preventDefault();
      this.attachments.add(files).then(() => this.update());
    });
    for (const name of ['dragover', 'dragenter']) document.addEventListener(name, (event) => this.#dragged(event));
    document.addEventListener('dragleave', (event) => event.relatedTarget === null && this.box.classList.remove('dropping'));
    document.addEventListener('drop', (event) => this.#dropped(event));
    this.attachments.input.addEventListener('change', () => setTimeout(() => this.update(), 50));
  }

  focus() {
    this.text.focus();
  }

  /** Shows what can be done now. */
  update() {
    const { store } = this.app;
    if (store.current !== this.#key) this.#change(store.current);
    const running = store.chat?.running ?? store.running.has(store.current);
    const bare = this.text.value.trim() === '' && this.attachments.count === 0;
    this.stop.hidden = !running;
    this.steer.hidden = !running || bare || this.attachments.count > 0;
    this.send.hidden = running && bare;
    this.send.disabled = bare;
    const label = running ? 'Queue' : 'Send';
    this.send.setAttribute('aria-label', label);
    this.send.title = running ? 'Queue: sent when the turn is over (Enter)' : 'Send (Enter)';
    const queue = matchMedia('(pointer: coarse), (max-width: 600px)').matches ? 'Queue a message' : 'Queue a message, or steer with Ctrl+Enter';
    this.text.placeholder = running ? queue : 'Message the agent';
    this.hint.textContent = running ? 'A turn goes on: Enter queues, Control Enter steers, Escape stops.' : '';
    const may = store.phase.name !== 'open' || store.may('write');
    this.text.disabled = !may;
    if (!may) this.text.placeholder = 'You may read here, not write.';
  }

  /** Stops the turn that goes on; what waits behind it comes next. */
  abort() {
    const { chat } = this.app.store;
    const run = chat?.open[0]?.run;
    if (run) this.app.sending.abort(chat.key, run);
  }

  // ── inside ──

  #change(key) {
    if (this.#key !== null) this.#keep(this.#key);
    this.#key = key;
    this.text.value = this.#drafts[key] ?? '';
    this.#back = -1;
    this.#grown();
  }

  #keep(key) {
    if (this.text.value) this.#drafts[key] = this.text.value;
    else delete this.#drafts[key];
    try {
      sessionStorage.setItem(DRAFTS, JSON.stringify(this.#drafts));
    } catch {
      // no room: drafts last as long as the page
    }
  }

  #grown() {
    this.text.style.setProperty('height', 'auto');
    this.text.style.setProperty('height', `${this.text.scrollHeight}px`);
    this.slash.update();
    if (this.#key !== null) this.#keep(this.#key);
    this.update();
  }

  #commands() {
    const { store } = this.app;
    const told = store.chat?.commands ?? store.options.get(store.current)?.commands ?? [];
    return told.map(({ name, description, input, hint }) => ({ name, description, hint: hint ?? input?.hint }));
  }

  #submitted(event) {
    event.preventDefault();
    this.#submit(false);
  }

  #submit(steering) {
    const text = this.text.value.trim();
    const key = this.#key;
    if (key === null || (text === '' && this.attachments.count === 0)) return;
    const running = this.app.store.chat?.running ?? false;
    this.text.value = '';
    this.#back = -1;
    if (steering && running && this.attachments.count === 0) this.app.sending.steer(key, text);
    else this.app.sending.send(key, text || 'See what is attached.', this.attachments.take());
    this.#grown();
    this.said();
  }

  // ── keys ──

  #keyed(event) {
    if (event.isComposing || this.slash.key(event)) return;
    const plain = !event.shiftKey && !event.altKey;
    if (event.key === 'Enter' && plain && !touch()) {
      event.preventDefault();
      this.#submit(event.ctrlKey || event.metaKey);
    } else if (event.key === 'Escape') {
      if (this.app.store.chat?.running) this.abort();
      else this.text.blur();
    } else if (event.key === 'ArrowUp' && plain) this.#history(event, 1);
    else if (event.key === 'ArrowDown' && plain) this.#history(event, -1);
  }

  /** Former prompts, from the first line up; back down to what was being written. */
  #history(event, by) {
    const { selectionStart, selectionEnd, value } = this.text;
    if (selectionStart !== selectionEnd) return;
    const edge = by > 0 ? !value.slice(0, selectionStart).includes('\n') : !value.slice(selectionEnd).includes('\n');
    if (!edge || (this.#back < 0 && by < 0) || (this.#back < 0 && value !== '' && selectionStart !== 0)) return;
    const prompts = this.#prompts();
    const next = this.#back + by;
    if (next >= prompts.length) return;
    event.preventDefault();
    if (this.#back < 0) this.#written = value;
    this.#back = next;
    this.text.value = next < 0 ? this.#written : prompts[next];
    this.#grown();
    this.text.setSelectionRange(this.text.value.length, this.text.value.length);
    if (by > 0) this.text.setSelectionRange(0, 0);
  }

  #prompts() {
    const turns = this.app.store.chat?.turns ?? [];
    const said = turns.flatMap((turn) => turn.items.filter((item) => item.type === 'prompt').map((item) => item.text));
    return [...new Set(said.reverse())];
  }

  // ── dropping ──

  #dragged(event) {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    this.box.classList.add('dropping');
  }

  #dropped(event) {
    this.box.classList.remove('dropping');
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    this.attachments.add(files).then(() => this.update());
    this.focus();
  }
}

/** Where there is no keyboard but the one on the glass, Enter begins a line and the button sends. */
function touch() {
  return matchMedia('(pointer: coarse) and (hover: none)').matches;
}

function drafts() {
  try {
    return JSON.parse(sessionStorage.getItem(DRAFTS) ?? '{}') ?? {};
  } catch {
    return {};
  }
}
