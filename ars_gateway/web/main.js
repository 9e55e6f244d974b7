/** The page put together: signs in, mounts its parts, and keeps the address in step with what is shown. */

import { App } from './app.js';
import { ChatView } from './chat.js';
import { Composer } from './composer.js';
import { Credentials } from './device.js';
import { confirmed } from './dialogs.js';
import { el } from './dom.js';
import { GatewayClient } from './gateway.js';
import { Header } from './header.js';
import { help, listen } from './keys.js';
import { PlanPanel, WaitingBar } from './plan.js';
import { Sessions } from './sessions.js';
import { SignIn, tokenOfAddress } from './signin.js';
import { Store } from './store.js';
import { applyTheme } from './theme.js';
import { mountToasts } from './toasts.js';

const LAST = 'ars.last';
const SIDE = 'ars.side';
const NARROW = '(max-width: 48rem)';

function begin() {
  applyTheme();
  mountToasts(document);
  const root = document.querySelector('#app');
  const credentials = new Credentials();
  credentials.token = tokenOfAddress();
  const url = `${location.protocol === 'https:' ? 'wss:' : 'ws:'}//${location.host}/`;
  const client = new GatewayClient({ url, introduce: (nonce) => credentials.introduce(nonce) });
  const app = new App(client, new Store(), credentials);
  app.start();
  let signIn = null;
  let page = null;
  client.on('phase', (phase) => {
    signIn?.show(phase);
    if (phase.name !== 'refused') return;
    const wrong = /unauthorized/.test(phase.error.message) && !phase.error.retryAfterMs;
    if (wrong && credentials.rejected()) client.start();
    else if (wrong && page !== null) location.reload(); // signed out elsewhere
    else signIn ??= opened();
  });
  client.on('hello', () => {
    signIn?.close();
    signIn = null;
    page ??= new Page(app);
    if (page.element.isConnected) return;
    root.replaceChildren(page.element);
    page.composer.focus();
  });
  function opened() {
    const made = new SignIn(root, client, credentials);
    made.show(client.phase);
    return made;
  }
  wakeUps(client);
  // An address that is opened where the page is open already loads nothing anew.
  addEventListener('hashchange', () => {
    const token = tokenOfAddress();
    if (token === null || page !== null) return;
    credentials.token = token;
    client.stop();
    client.start();
  });
  if (credentials.any) client.start();
  else signIn = opened();
  // A gateway that is away at the start is spoken of on the sign-in page, too.
  setTimeout(() => (page === null ? (signIn ??= opened()) : null), 2500);
}

function wakeUps(client) {
  addEventListener('online', () => client.wake());
  document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && client.wake());
  addEventListener('pageshow', (event) => event.persisted && client.wake());
}

/** The page of a person who is signed in. */
class Page {
  #state = null;

  constructor(app) {
    this.app = app;
    this.composer = new Composer(app, () => this.chat.toEnd());
    this.chat = new ChatView(app, () => this.composer.focus());
    this.sessions = new Sessions(app, () => this.#picked());
    this.header = new Header(app, {
      menu: () => this.#drawer(),
      rename: () => this.sessions.rename(app.store.current),
      state: () => this.#toggleState(),
      help,
      leave: () => this.#leave(),
    });
    this.plan = new PlanPanel(app);
    this.waiting = new WaitingBar(app, () => this.chat.toWaiting());
    this.dock = el('div', { class: 'dock' }, el('div', { class: 'column' }, this.waiting.element, this.plan.element, this.composer.element));
    this.talk = el('div', { class: 'talk' }, this.chat.element, this.dock);
    this.state = el('section', { class: 'state-page', hidden: true, aria: { label: 'State of the gateway' } });
    this.main = el('main', { class: 'main' }, this.header.element, this.header.line.element, this.talk, this.state);
    this.side = el('nav', { class: 'side', id: 'side', aria: { label: 'Sessions' } }, this.sessions.element);
    this.veil = el('div', { class: 'veil', on: { click: () => this.#drawer(false) } });
    const skip = el('a', { class: 'skip', on: { click: (event) => (event.preventDefault(), this.composer.focus()) } }, 'To the message');
    skip.setAttribute('href', '#composer');
    this.element = el('div', { class: 'page' }, skip, this.side, this.veil, this.main);
    this.element.classList.toggle('no-side', localStorage.getItem(SIDE) === 'hidden');
    this.#keys();
    app.store.on('view', () => this.#view());
    addEventListener('hashchange', () => this.#follow());
    matchMedia(NARROW).addEventListener('change', () => this.#drawer(false));
    this.#follow();
    performance.mark('ready');
  }

  #keys() {
    const { app } = this;
    listen({
      write: () => this.composer.focus(),
      fresh: () => (this.sessions.begin(), this.composer.focus()),
      find: () => (this.#drawer(true), this.sessions.find()),
      step: (by) => this.sessions.step(by),
      stop: () => (this.element.classList.contains('drawer') ? this.#drawer(false) : this.composer.abort()),
      page: (by) => this.chat.page(by),
      end: () => this.chat.toEnd(),
      waiting: () => this.chat.toWaiting(),
      state: () => app.showState(),
      chat: () => app.show(app.store.current),
      side: () => this.#side(),
      theme: () => this.header.theme.click(),
    });
  }

  // ── what is shown, and the address ──

  #follow() {
    const { app } = this;
    const wanted = new URLSearchParams(location.hash.slice(1));
    if (wanted.has('state')) {
      if (app.store.current === null) app.show(localStorage.getItem(LAST) ?? 'agent:main:main');
      app.showState();
    } else {
      const key = wanted.get('s') ?? app.store.current ?? localStorage.getItem(LAST) ?? 'agent:main:main';
      if (key !== app.store.current || app.store.view !== 'chat') app.show(key);
    }
  }

  #view() {
    const { store } = this.app;
    const state = store.view === 'state';
    const address = state ? '#state' : `#s=${encodeURIComponent(store.current).replaceAll('%3A', ':')}`;
    if (location.hash !== address) history.replaceState(null, '', address);
    if (!state) localStorage.setItem(LAST, store.current);
    this.talk.hidden = state;
    this.state.hidden = !state;
    if (state) this.#openState();
    else this.#closeState();
  }

  async #openState() {
    if (this.#state !== null) return;
    this.#state = { close: () => {} };
    const { mountStatePage } = await import('./state.js');
    if (this.app.store.view !== 'state') return;
    const { client, store } = this.app;
    const api = { request: (...it) => client.request(...it), on: (...it) => client.on(...it), store };
    this.#state = mountStatePage(this.state, api);
  }

  #closeState() {
    this.#state?.close();
    this.#state = null;
    this.state.replaceChildren();
  }

  #toggleState() {
    const { app } = this;
    if (app.store.view === 'state') app.show(app.store.current);
    else app.showState();
  }

  // ── the side ──

  #picked() {
    this.#drawer(false);
    if (!matchMedia('(pointer: coarse)').matches) this.composer.focus();
  }

  #drawer(open = !this.element.classList.contains('drawer')) {
    const narrow = matchMedia(NARROW).matches;
    if (!narrow && open) this.#side(true);
    this.element.classList.toggle('drawer', narrow && open);
    this.header.menu.setAttribute('aria-expanded', String(narrow && open));
    if (narrow && open) this.sessions.fresh.focus();
  }

  #side(open = this.element.classList.contains('no-side')) {
    this.element.classList.toggle('no-side', !open);
    localStorage.setItem(SIDE, open ? 'shown' : 'hidden');
  }

  async #leave() {
    const text = 'This browser forgets its key and its token. What runs goes on.';
    if (await confirmed('Sign out?', text, 'Sign out')) await this.app.signOut();
  }
}

begin();
