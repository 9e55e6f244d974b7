/** The list of sessions at the side: what there is, what runs, waits or is new in it; beginning, naming, deleting. */

import { asked, confirmed } from './dialogs.js';
import { el, icon, reveal } from './dom.js';
import { agentOf, isMain } from './store.js';

const DAY_MS = 86_400_000;

/** The list. `onPick` is called when a session was chosen, so that a phone's drawer may close. */
export class Sessions {
  #rows = new Map(); // key → {element, shown}

  constructor(app, onPick) {
    this.app = app;
    this.onPick = onPick;
    this.search = el('input', {
      type: 'search', placeholder: 'Search sessions', aria: { label: 'Search sessions' }, class: 'session-search',
      on: { input: () => this.#searched(), keydown: (event) => this.#searchKey(event) },
    });
    this.list = el('ul', { class: 'session-list', aria: { label: 'Sessions' }, on: { keydown: (event) => this.#key(event) } });
    this.element = el('div', { class: 'sessions' }, this.#top(), this.search, this.list);
    app.store.on('sessions', () => this.update());
  }

  #top() {
    this.agents = el('select', { class: 'select agent-choice', aria: { label: 'Agent of the new session' } });
    this.fresh = el(
      'button',
      { type: 'button', class: 'button new-session', title: 'New session (n)', on: { click: () => this.begin() } },
      icon('plus'),
      'New session',
    );
    return el('div', { class: 'session-new' }, this.fresh, this.agents);
  }

  /** Begins a session with the agent that is chosen. */
  begin() {
    this.app.begin(this.agents.value || agentOf(this.app.store.current));
    this.onPick();
  }

  /** Puts the focus into the search. */
  find() {
    this.search.focus();
    this.search.select();
  }

  /** The next session of the list, or the one before. */
  step(by) {
    const keys = this.#listed().map((row) => row.key);
    const at = keys.indexOf(this.app.store.current);
    const next = keys[Math.min(keys.length - 1, Math.max(0, at + by))];
    if (next && next !== this.app.store.current) this.app.show(next);
  }

  #listed() {
    const { store } = this.app;
    const words = store.search.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...store.sessions];
    const current = store.current;
    if (current !== null && store.row(current) === null) rows.unshift({ key: current, updatedAt: Date.now(), kind: 'direct' });
    return rows.filter((row) => {
      const text = `${store.title(row.key)} ${row.key} ${row.lastMessagePreview ?? ''}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }

  update() {
    this.#updateAgents();
    const rows = this.#listed();
    const wanted = [];
    let group = null;
    for (const row of rows) {
      const name = ago(row.updatedAt);
      if (name !== group) wanted.push(this.#heading(name));
      group = name;
      wanted.push(this.#row(row));
    }
    if (rows.length === 0) wanted.push(el('li', { class: 'dim empty', text: this.app.store.listed ? 'Nothing found' : '' }));
    const focused = this.list.contains(document.activeElement) ? document.activeElement : null;
    for (const [at, element] of wanted.entries()) {
      if (this.list.children[at] !== element) this.list.insertBefore(element, this.list.children[at] ?? null);
    }
    while (this.list.children.length > wanted.length) this.list.lastElementChild.remove();
    if (focused?.isConnected) focused.focus({ preventScroll: true });
    for (const key of this.#rows.keys()) if (!rows.some((row) => row.key === key)) this.#rows.delete(key);
  }

  #updateAgents() {
    const { agents, defaultAgent } = this.app.store;
    const spelled = agents.map((agent) => `${agent.id}\n${agent.name ?? ''}`).join('\n');
    this.agents.hidden = agents.length < 2;
    if (spelled === this.spelled) return;
    this.spelled = spelled;
    const chosen = this.agents.value || defaultAgent;
    const option = ({ id, name }) => el('option', { value: id, selected: id === chosen, text: name || id });
    this.agents.replaceChildren(...agents.map(option));
  }

  #heading(name) {
    return el('li', { class: 'session-group', role: 'presentation', text: name });
  }

  #row(row) {
    const { store } = this.app;
    const known = this.#rows.get(row.key) ?? this.#made(row.key);
    const running = store.running.has(row.key);
    const waits = store.waits(row.key);
    const mark = (waits && 'waits') || (running && 'runs') || (store.unread(row) && 'unread') || '';
    const title = store.title(row.key);
    const agent = agentOf(row.key);
    const about = [store.agents.length > 1 ? nameOf(store.agents, agent) : null, plain(row.lastMessagePreview)].filter(Boolean).join(' · ');
    const current = row.key === store.current;
    const spelled = [mark, title, about, current].join('\n');
    if (known.spelled === spelled) return known.element;
    known.spelled = spelled;
    known.title.textContent = reveal(title);
    known.about.textContent = reveal(about);
    known.mark.className = `mark ${mark}`;
    known.mark.textContent = { waits: 'waits for you', runs: 'running', unread: 'new' }[mark] ?? '';
    known.element.classList.toggle('unread', mark === 'unread');
    if (current) known.open.setAttribute('aria-current', 'true');
    else known.open.removeAttribute('aria-current');
    return known.element;
  }

  #made(key) {
    const title = el('span', { class: 'session-title' });
    const about = el('span', { class: 'session-about dim' });
    const mark = el('span', { class: 'mark' });
    const open = el('button', { type: 'button', class: 'session-open', data: { key } }, el('span', { class: 'session-line' }, title, mark), about);
    open.addEventListener('click', () => {
      this.app.show(key);
      this.onPick();
    });
    const more = el('div', { class: 'session-more' }, this.#action('edit', 'Rename', () => this.rename(key)), this.#action('trash', isMain(key) ? 'Begin anew' : 'Delete', () => this.remove(key)));
    const element = el('li', { class: 'session' }, open, more);
    const made = { element, open, title, about, mark, spelled: null };
    this.#rows.set(key, made);
    return made;
  }

  #action(name, label, run) {
    return el('button', { type: 'button', class: 'icon-button', title: label, aria: { label }, tabindex: '-1', on: { click: run } }, icon(name));
  }

  /** Asks for a session's name. */
  async rename(key) {
    const label = await asked('Rename the session', 'Name', this.app.store.row(key)?.label ?? this.app.store.title(key));
    if (label !== null) await this.app.rename(key, label);
  }

  /** Deletes a session, or begins a main one anew, once that is confirmed. */
  async remove(key) {
    const title = this.app.store.title(key);
    if (isMain(key)) {
      const text = 'What was said is no longer shown, and what runs is stopped.';
      if (await confirmed('Begin the main session anew?', text, 'Begin anew', { danger: true })) await this.app.reset(key);
    } else if (await confirmed('Delete the session?', `“${reveal(title)}” and all that was said in it.`, 'Delete', { danger: true })) {
      await this.app.remove(key);
    }
  }

  // ── the keyboard ──

  #searched() {
    this.app.store.search = this.search.value;
    this.app.store.tell('sessions');
  }

  #searchKey(event) {
    if (event.key === 'ArrowDown') {
      event.preventDefault();
      this.list.querySelector('.session-open')?.focus();
    } else if (event.key === 'Enter') {
      const first = this.#listed()[0];
      if (first) this.app.show(first.key);
      this.onPick();
    } else if (event.key === 'Escape' && this.search.value) {
      event.stopPropagation();
      this.search.value = '';
      this.#searched();
    }
  }

  #key(event) {
    const key = event.target.dataset?.key;
    const all = [...this.list.querySelectorAll('.session-open')];
    const at = all.indexOf(event.target);
    const go = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (go !== undefined && at >= 0) {
      event.preventDefault();
      if (go < 0) this.search.focus();
      else all[go]?.focus();
    } else if (event.key === 'F2' && key) this.rename(key);
    else if (event.key === 'Delete' && key) this.remove(key);
  }
}

/** The beginning of a message without the marks of its Markdown. */
function plain(text = '') {
  return text.replace(/(^|\s)(#{1,6}|[-*>]|\d+\.)(?=\s)/g, '$1').replace(/\*\*|__|`+/g, '').replace(/\s+/g, ' ').trim();
}

function nameOf(agents, id) {
  return agents.find((agent) => agent.id === id)?.name || id;
}

function ago(at) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (at >= today) return 'Today';
  if (at >= today - DAY_MS) return 'Yesterday';
  return at >= today - 6 * DAY_MS ? 'This week' : 'Earlier';
}
