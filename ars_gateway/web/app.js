/** What can be done in the page: each action talks to the gateway and changes the store. */

import { announce, toast } from './dom.js';
import { Chat } from './fold.js';
import { Sending } from './sending.js';
import { agentOf, randomId } from './store.js';

const MOST_WATCHED = 8;
const LIST_MS = 250;
const LIST = { includeDerivedTitles: true, includeLastMessage: true, limit: 500 };

/** Binds a client and a store; `start` once both are there. */
export class App {
  #listing = 0;
  #opening = new Map(); // key → the number of the latest opening
  #openings = 0;
  #offered = new Map(); // key → the number of the asking whose answer is shown
  #askings = 0;

  constructor(client, store, credentials) {
    this.client = client;
    this.store = store;
    this.credentials = credentials;
    this.sending = new Sending(this);
  }

  /** Listens to the gateway. */
  start() {
    const { client } = this;
    client.on('phase', (phase) => this.#phase(phase));
    client.on('hello', (hello) => this.#hello(hello));
    client.on('gap', () => this.#resync());
    client.on('_ars.feed', (event) => this.#feed(event));
    client.on('chat', (event) => this.#told(event));
    client.on('agent', (event) => event.stream === 'lifecycle' && this.#lifecycle(event));
    client.on('exec.approval.requested', (payload) => this.#asked(payload, payload.request?.sessionKey));
    client.on('exec.approval.resolved', (payload) => this.#answered(payload));
    client.on('_ars.elicitation.requested', (payload) => this.#asked(payload, payload.sessionKey));
    client.on('_ars.elicitation.resolved', (payload) => this.#answered(payload));
  }

  request(method, params, options) {
    return this.client.request(method, params, options);
  }

  // ── the connection ──

  #phase(phase) {
    this.store.phase = phase;
    this.store.tell('phase');
  }

  #hello(hello) {
    this.credentials.welcomed(hello);
    this.store.hello = hello;
    this.store.waiting.clear();
    this.store.tell('phase', 'sessions', 'options');
    this.#resync();
  }

  /** Everything that may have changed while nobody listened. */
  async #resync() {
    for (const key of this.store.chats.keys()) if (key !== this.store.current) this.#open(key);
    if (this.store.current !== null) this.#open(this.store.current);
    this.sending.flush();
    await Promise.allSettled([this.#agents(), this.list(), this.#runs()]);
  }

  async #agents() {
    const { agents, defaultId } = await this.request('agents.list', {});
    this.store.agents = agents;
    this.store.defaultAgent = defaultId;
    this.store.tell('sessions');
  }

  async #runs() {
    const { runs } = await this.request('_ars.state', {});
    this.store.running = new Set(runs.map((run) => run.sessionKey));
    this.store.tell('sessions');
  }

  // ── the list ──

  /** Asks for the sessions, soon: of several calls one. */
  relist() {
    clearTimeout(this.#listing);
    this.#listing = setTimeout(() => this.list().catch(() => {}), LIST_MS);
  }

  async list() {
    const { sessions, defaults } = await this.request('sessions.list', LIST);
    this.store.sessions = sessions;
    this.store.defaults = defaults;
    this.store.listed = true;
    this.store.tell('sessions');
  }

  #told({ sessionKey, state }) {
    const key = this.#key(sessionKey);
    if (state === 'delta') this.mark(key, true);
    else {
      this.mark(key, false);
      this.relist();
    }
  }

  #lifecycle({ sessionKey, data }) {
    this.mark(this.#key(sessionKey), data?.phase === 'start');
    this.relist();
  }

  /** Something goes on in a session, or no longer. */
  mark(key, on) {
    const { running } = this.store;
    if (running.has(key) === on) return;
    if (on) running.add(key);
    else running.delete(key);
    this.store.tell('sessions');
  }

  /** Keys in events are spelled as their sender spelled them. */
  #key(key) {
    return key === undefined || key === null || key.startsWith('agent:') ? key : `agent:main:${key}`;
  }

  #asked(payload, key) {
    this.store.waiting.set(payload.id, this.#key(key));
    this.store.tell('sessions', 'chat');
  }

  #answered(payload) {
    this.store.waiting.delete(payload.id);
    this.store.tell('sessions', 'chat');
  }

  // ── one session ──

  /** Shows a session; it is watched from here on. */
  show(key) {
    const { store } = this;
    if (store.current !== null) store.see(store.current);
    store.current = key;
    store.view = 'chat';
    store.see(key);
    if (!store.chats.has(key)) this.#open(key);
    this.#forgetOld();
    store.tell('chat', 'sessions', 'options', 'view');
    this.options(key);
  }

  /** Shows the state page. */
  showState() {
    this.store.view = 'state';
    this.store.tell('view');
  }

  /** Begins a session with an agent; it is made when something is said in it. */
  begin(agent) {
    this.show(`agent:${agent}:${randomId(6)}`);
  }

  async #open(key) {
    const { store } = this;
    const known = store.chats.get(key);
    const number = (this.#openings += 1);
    this.#opening.set(key, number);
    const after = known?.feed ? { feed: known.feed, n: known.last } : undefined;
    try {
      const opened = await this.request('_ars.chat.open', after ? { sessionKey: key, after } : { sessionKey: key });
      if (this.#opening.get(key) !== number) return;
      this.#opened(key, known, opened);
    } catch (why) {
      if (this.#opening.get(key) !== number || why.code === 'CLOSED') return;
      store.failed.set(key, why.message);
      store.tell('chat');
    }
  }

  #opened(key, known, opened) {
    const { store } = this;
    const chat = opened.resumed && known ? known : new Chat(key);
    if (chat !== known) chat.older = opened.older ?? null;
    chat.feed = opened.feed;
    chat.title = opened.title;
    chat.agent = opened.agentId;
    chat.take(opened.entries ?? []);
    chat.last = Math.max(chat.last, opened.last ?? 0);
    // What a resumed one missed comes as events, the ends of its runs too.
    if (chat !== known) chat.settle(opened.live ?? []);
    store.failed.delete(key);
    store.chats.set(key, chat);
    this.sending.delivered(chat);
    this.mark(key, chat.running);
    store.tell('chat', 'sessions');
    if (key === store.current) this.options(key);
  }

  #feed({ key, feed, entries, over }) {
    const { store } = this;
    const chat = store.chats.get(key);
    if (chat === undefined) return;
    if (over !== undefined) return this.#over(key, over);
    chat.feed ??= feed; // a session that was not there has none until something is said in it
    if (feed !== chat.feed) return this.#open(key);
    const before = chat.optionsRev;
    chat.take(entries);
    this.sending.delivered(chat);
    this.mark(key, chat.running);
    for (const entry of entries) if (entry.kind === 'end') this.#ended(chat, entry.data);
    // What an agent offers is known once its session is open: that is when it says something.
    const opened = !store.options.get(key)?.open && entries.some((entry) => entry.kind !== 'prompt');
    if (chat.optionsRev !== before || opened) this.options(key);
    if (key === store.current) store.see(key);
    store.tell('chat');
    return undefined;
  }

  #over(key, why) {
    const { store } = this;
    store.chats.delete(key);
    if (why === 'deleted') {
      this.relist();
      if (store.current === key) this.#leave(key);
    } else if (key === store.current) this.#open(key);
    store.tell('chat', 'sessions');
  }

  #ended(chat, end) {
    this.relist();
    this.options(chat.key);
    if (chat.key !== this.store.current) return;
    if (end.state === 'ok') announce('The agent has finished.');
    else if (end.state === 'error') announce('The turn has failed.', { assertive: true });
    else announce('The turn was stopped.');
  }

  /** What is not looked at any more is let go of; what runs is kept. */
  #forgetOld() {
    const { chats, current, running } = this.store;
    for (const key of chats.keys()) {
      if (chats.size <= MOST_WATCHED) return;
      if (key === current || running.has(key)) continue;
      chats.delete(key);
      this.request('_ars.chat.close', { sessionKey: key }).catch(() => {});
    }
  }

  #leave(key) {
    const next = this.store.sessions.find((row) => row.key !== key);
    this.show(next?.key ?? 'agent:main:main');
  }

  /** Puts older entries in front. Returns whether there were any. */
  async older(chat) {
    if (chat.older === null || chat.loading) return false;
    chat.loading = true;
    try {
      const { entries, older } = await this.request('_ars.chat.older', { sessionKey: chat.key, before: chat.older });
      chat.older = older ?? null;
      chat.prepend(entries);
      return true;
    } catch (why) {
      if (why.code === 'INVALID_REQUEST') {
        this.store.chats.delete(chat.key);
        this.#open(chat.key);
      } else if (why.code !== 'CLOSED') toast(why.message, { kind: 'error' });
      return false;
    } finally {
      chat.loading = false;
      this.store.tell('chat');
    }
  }

  /** Asks what can be chosen in a session. */
  async options(key) {
    const number = (this.#askings += 1);
    try {
      const options = await this.request('_ars.session.options', { sessionKey: key });
      if ((this.#offered.get(key) ?? 0) > number) return; // asked later, told sooner
      this.#offered.set(key, number);
      this.store.options.set(key, options);
      this.store.tell('options');
    } catch {
      // they stay as they were
    }
  }

  /** Chooses a mode, a model or another option. */
  async choose(key, id, value) {
    try {
      const params = { sessionKey: key, id, value };
      const options = await this.request('_ars.session.choose', params, { seconds: 90 });
      this.#offered.set(key, (this.#askings += 1));
      this.store.options.set(key, options);
    } catch (why) {
      toast(`Not chosen: ${why.message}`, { kind: 'error' });
    }
    this.store.tell('options');
  }

  // ── sessions ──

  async rename(key, label) {
    await this.#tried('Not renamed', 'sessions.patch', { key, label: label.slice(0, 64) || null });
  }

  async reset(key) {
    await this.#tried('Not begun anew', 'sessions.reset', { key });
  }

  async remove(key) {
    if (!(await this.#tried('Not deleted', 'sessions.delete', { key }))) return;
    this.store.sessions = this.store.sessions.filter((row) => row.key !== key);
    this.store.chats.delete(key);
    if (this.store.current === key) this.#leave(key);
    this.store.tell('sessions');
  }

  async #tried(failure, method, params) {
    try {
      await this.request(method, params);
      this.relist();
      return true;
    } catch (why) {
      toast(`${failure}: ${why.message}`, { kind: 'error' });
      return false;
    }
  }

  /** Leaves the gateway: its token for this browser is given back and forgotten. */
  async signOut() {
    const { deviceId } = this.credentials;
    if (deviceId) await this.request('device.token.revoke', { deviceId, role: 'operator' }, { seconds: 4 }).catch(() => {});
    this.client.stop();
    await this.credentials.leave();
    location.replace(location.pathname);
  }

  /** The agent of the session that is shown. */
  get agent() {
    const id = agentOf(this.store.current);
    return this.store.agents.find((agent) => agent.id === id) ?? { id, name: id };
  }
}
