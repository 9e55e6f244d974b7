/**
 * The way to the gateway: one WebSocket that comes back by itself. Requests are answered or rejected, never left open;
 * events go to whoever asked for them.
 *
 * Phases: idle · connecting · open · waiting {at, attempt, why} · refused {error}. A refusal ends it until `start`.
 */

const CONNECT_SECONDS = 12;
const REQUEST_SECONDS = 30;
const CHECK_SECONDS = 6;
const FIRST_MS = 500;
const MOST_MS = 10_000;
const RESTART = 1012;

/** Why a request was not answered with a yes. `code` is the gateway's, or CLOSED, TIMEOUT. */
export class GatewayError extends Error {
  constructor({ code = 'INTERNAL', message = 'something went wrong', retryable = false, retryAfterMs, details } = {}, payload) {
    super(message);
    this.code = code;
    this.retryable = retryable;
    this.retryAfterMs = retryAfterMs;
    this.details = details;
    this.payload = payload;
  }
}

/** How long to wait before attempt `attempt` (0 is at once): doubling, bounded, half of it by chance. */
export function delay(attempt, random = Math.random) {
  if (attempt === 0) return 0;
  const most = Math.min(MOST_MS, FIRST_MS * 2 ** (attempt - 1));
  return Math.round(most / 2 + (random() * most) / 2);
}

/**
 * `url`: ws or wss. `introduce(nonce)`: the params of connect, but for `resume`; it may be asynchronous, and what it
 * throws is a refusal. `Socket`, `random`: for tests.
 */
export class GatewayClient {
  phase = { name: 'idle' };
  hello = null;
  #socket = null;
  #listeners = new Map();
  #pending = new Map();
  #ids = 0;
  #seq = 0;
  #past = null; // {connId, lastSeq} of the connection before
  #attempt = 0;
  #timers = { retry: 0, connect: 0, quiet: 0 };
  #restartMs = 0;

  constructor({ url, introduce, Socket = globalThis.WebSocket, random = Math.random }) {
    this.url = url;
    this.introduce = introduce;
    this.Socket = Socket;
    this.random = random;
  }

  /** Hears an event of the gateway, or `phase`, `hello`, `gap`. Returns what ends it. */
  on(event, listener) {
    const all = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, all);
    all.add(listener);
    return () => all.delete(listener);
  }

  /** Connects, now; what waits or was refused is tried anew. */
  start() {
    if (this.phase.name === 'open' || this.phase.name === 'connecting') return;
    this.#attempt = 0;
    this.#open();
  }

  /** Ends the connection for good. */
  stop() {
    this.#past = null;
    this.#drop('stopped');
    this.#enter({ name: 'idle' });
  }

  /** The machine woke up, the network is back, the page is looked at: no time to be lost. */
  async wake() {
    if (this.phase.name === 'waiting') {
      this.#attempt = 0;
      this.#open();
    } else if (this.phase.name === 'open') {
      const socket = this.#socket;
      try {
        await this.request('health', undefined, { seconds: CHECK_SECONDS });
      } catch (why) {
        if (why.code === 'TIMEOUT' && socket === this.#socket) this.#lost('no answer');
      }
    }
  }

  /** Asks; resolves to the payload of the answer, rejects with `GatewayError`. */
  request(method, params, { seconds = REQUEST_SECONDS } = {}) {
    // A socket that is closing is lost already, though nobody has said so yet.
    if (this.phase.name !== 'open' || this.#socket.readyState > 1) return Promise.reject(closed());
    return this.#ask(method, params, seconds);
  }

  // ── inside ──

  #ask(method, params, seconds) {
    this.#ids += 1;
    const id = String(this.#ids);
    return new Promise((resolve, reject) => {
      const late = () => {
        this.#pending.delete(id);
        reject(new GatewayError({ code: 'TIMEOUT', message: `no answer to ${method}`, retryable: true }));
      };
      this.#pending.set(id, { resolve, reject, timer: setTimeout(late, seconds * 1000) });
      this.#socket.send(JSON.stringify(params === undefined ? { type: 'req', id, method } : { type: 'req', id, method, params }));
    });
  }

  #open() {
    this.#drop('replaced');
    this.#enter({ name: 'connecting', attempt: this.#attempt });
    const socket = new this.Socket(this.url);
    this.#socket = socket;
    const mine = (run) => (event) => socket === this.#socket && run(event);
    socket.onmessage = mine((event) => this.#received(event.data));
    socket.onclose = mine((event) => this.#lost(event.reason || 'the connection was closed', event.code));
    this.#timers.connect = setTimeout(mine(() => this.#lost('the gateway does not answer')), CONNECT_SECONDS * 1000);
  }

  #received(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return this.#lost('what came was no JSON');
    }
    this.#stillThere();
    if (message.type === 'res') return this.#answered(message);
    if (message.type !== 'event') return undefined;
    if (message.event === 'connect.challenge') return this.#introduced(message.payload?.nonce);
    this.#counted(message.seq);
    if (message.event === 'shutdown') this.#restartMs = message.payload?.restartExpectedMs ?? 0;
    return this.#emit(message.event, message.payload);
  }

  #answered({ id, ok, payload, error }) {
    const waiting = this.#pending.get(id);
    if (waiting === undefined) return;
    this.#pending.delete(id);
    clearTimeout(waiting.timer);
    if (ok) waiting.resolve(payload);
    else waiting.reject(new GatewayError(error, payload));
  }

  #counted(seq) {
    if (seq === undefined) return;
    const missed = this.#seq !== 0 && seq > this.#seq + 1;
    this.#seq = seq;
    if (missed) this.#emit('gap', { seq });
  }

  async #introduced(nonce) {
    const socket = this.#socket;
    try {
      const params = await this.introduce(nonce);
      if (socket !== this.#socket) return;
      const resume = this.#past ? { resume: this.#past } : {};
      const hello = await this.#ask('connect', { ...params, ...resume }, CONNECT_SECONDS);
      if (socket === this.#socket) this.#welcome(hello);
    } catch (error) {
      if (socket === this.#socket) this.#refused(error);
    }
  }

  #welcome(hello) {
    clearTimeout(this.#timers.connect);
    this.#attempt = 0;
    this.#restartMs = 0;
    this.#seq = 0;
    this.hello = hello;
    this.#past = { connId: hello.server.connId, lastSeq: 0 };
    this.#enter({ name: 'open' });
    this.#stillThere();
    this.#emit('hello', hello);
  }

  #refused(error) {
    if (error.code === 'CLOSED' || error.code === 'TIMEOUT') return this.#lost(error.message);
    this.#drop('refused');
    this.#past = null;
    return this.#enter({ name: 'refused', error });
  }

  #stillThere() {
    clearTimeout(this.#timers.quiet);
    const tick = this.hello?.policy?.tickIntervalMs ?? 30_000;
    if (this.phase.name === 'open') this.#timers.quiet = setTimeout(() => this.#lost('the gateway fell silent'), 2.5 * tick);
  }

  #lost(why, code) {
    const wasOpen = this.phase.name === 'open';
    if (wasOpen && this.#past) this.#past.lastSeq = this.#seq;
    this.#drop(why);
    if (!wasOpen) this.#attempt += 1;
    const least = code === RESTART ? Math.max(this.#restartMs, 250) : 0;
    const wait = Math.max(delay(this.#attempt, this.random), least);
    this.#enter({ name: 'waiting', at: Date.now() + wait, attempt: this.#attempt, why });
    this.#timers.retry = setTimeout(() => this.#open(), wait);
  }

  /** Lets go of the socket; what waited for an answer hears that none comes. */
  #drop(why) {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket !== null) {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject, timer } of pending) {
      clearTimeout(timer);
      reject(closed(why));
    }
  }

  #enter(phase) {
    this.phase = phase;
    this.#emit('phase', phase);
  }

  #emit(event, payload) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        listener(payload);
      } catch (error) {
        console.error(error); // one listener's fault is not the others'
      }
    }
  }
}

function closed(why = 'the gateway is not connected') {
  return new GatewayError({ code: 'CLOSED', message: why, retryable: true });
}
