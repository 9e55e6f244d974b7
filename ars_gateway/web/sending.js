/** Prompts on their way: shown at once, sent anew after a break under the same key, steered, stopped. */

import { toast } from './dom.js';
import { randomId } from './store.js';

/** What a person says in the sessions of an `App`. */
export class Sending {
  #app;

  constructor(app) {
    this.#app = app;
  }

  /** Sends a prompt. It is shown at once, and sent anew after a break, under the same key. */
  send(key, text, attachments = []) {
    const prompt = { id: randomId(16), text, attachments, state: 'sending', why: null };
    const out = this.#app.store.outbox.get(key) ?? [];
    this.#app.store.outbox.set(key, [...out, prompt]);
    this.#app.store.tell('chat');
    return this.#post(key, prompt);
  }

  /** Sends a prompt that failed once more. */
  again(key, prompt) {
    prompt.state = 'sending';
    this.#app.store.tell('chat');
    return this.#post(key, prompt);
  }

  /** Gives a prompt up that was not sent. */
  discard(key, prompt) {
    const out = (this.#app.store.outbox.get(key) ?? []).filter((it) => it !== prompt);
    this.#app.store.outbox.set(key, out);
    this.#app.store.tell('chat');
  }

  async #post(key, prompt) {
    const params = { sessionKey: key, message: prompt.text, idempotencyKey: prompt.id };
    if (prompt.attachments.length > 0) params.attachments = prompt.attachments;
    try {
      await this.#app.request('chat.send', params, { seconds: 60 });
      prompt.state = 'sent';
      this.#app.mark(key, true);
      const chat = this.#app.store.chats.get(key);
      if (chat) this.delivered(chat);
      // What comes back by the feed takes its place; what does not (it stopped something) is over.
      setTimeout(() => this.discard(key, prompt), 1500);
      this.#app.relist();
    } catch (why) {
      prompt.state = why.code === 'CLOSED' ? 'waiting' : 'failed';
      prompt.why = why.message;
    }
    this.#app.store.tell('chat');
  }

  flush() {
    for (const [key, out] of this.#app.store.outbox) {
      for (const prompt of out) if (prompt.state === 'waiting') this.again(key, prompt);
    }
  }

  delivered(chat) {
    const out = this.#app.store.outbox.get(chat.key);
    if (!out?.length) return;
    const runs = new Set(chat.turns.map((turn) => turn.run));
    this.#app.store.outbox.set(chat.key, out.filter((prompt) => !runs.has(prompt.id)));
  }

  /** Says something into the turn that goes on; where that cannot be it waits behind it. */
  async steer(key, text) {
    try {
      const params = { sessionKey: key, message: text, idempotencyKey: randomId(16) };
      const { outcome } = await this.#app.request('_ars.chat.steer', params);
      if (outcome === 'injected') return;
      toast(outcome === 'unsupported' ? 'This agent cannot be steered: queued instead.' : 'The turn had ended: sent as a prompt.');
    } catch (why) {
      if (why.code !== 'CLOSED') toast(`Not steered, queued instead: ${why.message}`, { kind: 'error' });
    }
    await this.send(key, text);
  }

  /** Stops what goes on in a session, or one run of it. */
  async abort(key, runId) {
    try {
      await this.#app.request('chat.abort', runId ? { sessionKey: key, runId } : { sessionKey: key });
    } catch (why) {
      toast(`Not stopped: ${why.message}`, { kind: 'error' });
    }
  }
}
