/** What stands above the conversation: which session, whose, and how the connection is; and what is said of it. */

import { el, icon, reveal } from './dom.js';
import { agentOf } from './store.js';
import { theme, turnTheme } from './theme.js';

const QUIET_MS = 500; // a break that is mended sooner is not spoken of

/** The header. `acts`: {menu, rename, state, help, leave}. */
export class Header {
  constructor(app, acts) {
    this.app = app;
    this.menu = button('menu', 'Sessions', acts.menu, { class: 'icon-button only-narrow', aria: { expanded: false } });
    this.title = el('button', { type: 'button', class: 'title', title: 'Rename (F2)', on: { click: acts.rename } });
    this.agent = el('span', { class: 'badge agent-badge' });
    this.theme = button('sun', 'Theme', () => this.#theme());
    const right = el('div', { class: 'header-right' }, button('pulse', 'State of the gateway (g s)', acts.state), this.theme, button('question', 'Keyboard shortcuts (?)', acts.help), button('exit', 'Sign out', acts.leave));
    this.element = el('header', { class: 'header' }, this.menu, el('h1', { class: 'header-title' }, this.title), this.agent, right);
    this.line = new ConnectionLine(app);
    for (const topic of ['sessions', 'chat', 'view']) app.store.on(topic, () => this.update());
    this.#showTheme(theme());
  }

  update() {
    const { store } = this.app;
    const state = store.view === 'state';
    const title = state ? 'State of the gateway' : reveal(store.title(store.current));
    if (this.title.textContent !== title) this.title.textContent = title;
    this.title.disabled = state;
    this.agent.hidden = state;
    this.agent.textContent = reveal(this.app.agent.name || agentOf(store.current));
    const waits = store.waiting.size > 0 ? '● ' : '';
    document.title = `${waits}${title} – ARS`;
  }

  #theme() {
    this.#showTheme(turnTheme());
  }

  #showTheme(name) {
    this.theme.replaceChildren(icon(name === 'dark' ? 'moon' : name === 'light' ? 'sun' : 'auto'));
    const label = { auto: 'Theme: as the system', light: 'Theme: light', dark: 'Theme: dark' }[name];
    this.theme.title = `${label} (t)`;
    this.theme.setAttribute('aria-label', label);
  }
}

/** The line that says that the gateway is away, and when it is tried again. */
class ConnectionLine {
  #timer = 0;
  #since = 0;

  constructor(app) {
    this.app = app;
    this.words = el('span', {});
    this.now = el('button', { type: 'button', class: 'button small', text: 'Now', on: { click: () => app.client.wake() } });
    this.element = el('div', { class: 'connection-line', role: 'status', hidden: true }, el('span', { class: 'spinner', aria: { hidden: true } }), this.words, this.now);
    app.store.on('phase', () => this.update());
  }

  update() {
    const { phase } = this.app.store;
    clearInterval(this.#timer);
    if (phase.name === 'open') {
      this.element.hidden = true;
      this.#since = 0;
      return;
    }
    this.#since ||= Date.now();
    this.#draw();
    this.#timer = setInterval(() => this.#draw(), 250);
  }

  #draw() {
    const { phase } = this.app.store;
    this.element.hidden = Date.now() - this.#since < QUIET_MS;
    const left = Math.max(0, Math.ceil((phase.at - Date.now()) / 1000));
    this.now.hidden = phase.name !== 'waiting' || left < 1;
    const words = phase.name === 'waiting' && left > 0 ? `The gateway is away. Trying again in ${left} s.` : 'Connecting to the gateway…';
    if (this.words.textContent !== words) this.words.textContent = words;
  }
}

function button(name, label, run, props = {}) {
  return el('button', { type: 'button', class: 'icon-button', title: label, ...props, aria: { label, ...props.aria }, on: { click: run } }, icon(name));
}
