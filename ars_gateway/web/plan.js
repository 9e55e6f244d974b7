/** What stands above the composer: the plan of the turn, and that something waits for the person. */

import { el, icon, reveal } from './dom.js';

const SIGNS = { completed: 'check', in_progress: 'chevron', pending: 'circle' };

/** The plan, folded to its present step. */
export class PlanPanel {
  #spelled = '';

  constructor(app) {
    this.app = app;
    this.title = el('span', { class: 'plan-now' });
    this.count = el('span', { class: 'dim' });
    this.list = el('ol', { class: 'plan-list' });
    this.element = el('details', { class: 'plan', hidden: true }, el('summary', {}, icon('chevron'), el('span', { class: 'plan-word', text: 'Plan' }), this.count, this.title), this.list);
    app.store.on('chat', () => this.update());
  }

  update() {
    const { chat } = this.app.store;
    const entries = chat?.plan ?? [];
    const done = entries.filter((it) => it.status === 'completed').length;
    const over = entries.length === 0 || (done === entries.length && !chat.running);
    this.element.hidden = over;
    const spelled = JSON.stringify(entries);
    if (over || spelled === this.#spelled) return;
    this.#spelled = spelled;
    const now = entries.find((it) => it.status === 'in_progress') ?? entries.find((it) => it.status !== 'completed');
    this.count.textContent = `${done}/${entries.length}`;
    this.title.textContent = now ? reveal(now.content) : 'All done';
    this.list.replaceChildren(...entries.map(row));
  }
}

function row({ content, status = 'pending' }) {
  const words = { completed: 'done', in_progress: 'in progress', pending: 'to do' }[status] ?? status;
  return el('li', { class: `plan-row ${status}` }, icon(SIGNS[status] ?? 'circle'), el('span', { text: reveal(content) }), el('span', { class: 'visually-hidden', text: ` (${words})` }));
}

/** The bar that says how many questions wait, and leads to the first one. */
export class WaitingBar {
  constructor(app, go) {
    this.app = app;
    this.words = el('span', {});
    this.element = el('button', { type: 'button', class: 'waiting-bar', hidden: true, title: 'Go to it (g q)', on: { click: go } }, icon('question'), this.words, icon('chevron'));
    app.store.on('chat', () => this.update());
  }

  update() {
    const count = this.app.store.chat?.waiting.length ?? 0;
    this.element.hidden = count === 0;
    this.words.textContent = count === 1 ? 'The agent waits for your answer' : `${count} questions wait for your answer`;
  }
}
