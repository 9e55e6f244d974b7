/**
 * What the page knows, as plain data, and who wants to hear when it changes. Changes are told once for each picture,
 * however many there were. Topics: phase · sessions · chat · options · view.
 */

import { frame } from './dom.js';

const SEEN = 'ars.seen';
const MOST_SEEN = 500;

/** The page's state. `later` runs what is due before the next picture; tests give another one. */
export class Store {
  phase = { name: 'idle' };
  hello = null;
  agents = [];
  sessions = [];
  listed = false; // whether `sessions` was asked for once
  running = new Set(); // keys of sessions in which something goes on
  waiting = new Map(); // id of a question or form that waits → key of its session
  current = null; // the key of the session that is shown
  view = 'chat'; // or state
  search = '';
  chats = new Map(); // key → Chat of those that are watched
  failed = new Map(); // key → why it could not be opened
  outbox = new Map(); // key → prompts on their way: {id, text, attachments, state, why}
  options = new Map(); // key → the answer of _ars.session.options
  #seen = read(SEEN);
  #listeners = new Map();
  #due = new Set();
  #later;

  constructor(later = frame) {
    this.#later = later;
  }

  /** Hears of a topic. Returns what ends it. */
  on(topic, listener) {
    const all = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, all);
    all.add(listener);
    return () => all.delete(listener);
  }

  /** Something of these topics has changed. */
  tell(...topics) {
    if (this.#due.size === 0) this.#later(() => this.#flush());
    for (const topic of topics) this.#due.add(topic);
  }

  #flush() {
    const due = [...this.#due];
    this.#due.clear();
    for (const topic of due) for (const listener of [...(this.#listeners.get(topic) ?? [])]) listener();
  }

  /** What the session that is shown holds, or null while it is not there yet. */
  get chat() {
    return this.chats.get(this.current) ?? null;
  }

  /** The row of a session in the list. */
  row(key) {
    return this.sessions.find((row) => row.key === key) ?? null;
  }

  /** How a session is called. */
  title(key) {
    const row = this.row(key);
    const chat = this.chats.get(key);
    return row?.label || row?.derivedTitle || chat?.title || (isMain(key) ? 'Main session' : 'New session');
  }

  /** Whether there is something in a session that nobody has looked at here. */
  unread(row) {
    return row.key !== this.current && row.updatedAt > (this.#seen[row.key] ?? this.#seen['*'] ?? Infinity);
  }

  /** A session was looked at. What is older than the first visit counts as seen. */
  see(key, at = Date.now()) {
    this.#seen['*'] ??= at;
    this.#seen[key] = at;
    const keys = Object.keys(this.#seen);
    if (keys.length > MOST_SEEN) delete this.#seen[keys.find((it) => it !== '*')];
    write(SEEN, this.#seen);
  }

  /** Whether something waits for the person in a session. */
  waits(key) {
    return [...this.waiting.values()].includes(key);
  }

  /** What a caller with our scopes may do. */
  may(scope) {
    const scopes = this.hello?.auth?.scopes ?? [];
    return scopes.includes('operator.admin') || scopes.includes(`operator.${scope}`);
  }
}

/** The agent that a key belongs to. */
export function agentOf(key) {
  return /^agent:([^:]+):/.exec(key ?? '')?.[1] ?? 'main';
}

/** Whether a key is that of an agent's main session, which stays. */
export function isMain(key) {
  return /^agent:[^:]+:main$/.test(key ?? '');
}

/** A name that nobody else has; crypto.randomUUID is not there where the page came without TLS. */
export function randomId(bytes) {
  const found = crypto.getRandomValues(new Uint8Array(bytes));
  return [...found].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function read(name) {
  try {
    return JSON.parse(localStorage.getItem(name) ?? '{}') ?? {};
  } catch {
    return {};
  }
}

function write(name, value) {
  try {
    localStorage.setItem(name, JSON.stringify(value));
  } catch {
    // full, or forbidden: the marks are lost with the page
  }
}
