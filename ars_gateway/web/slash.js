/** The menu of an agent's commands, while the message is `/` and the beginning of a name. */

import { el, reveal } from './dom.js';

const MOST = 40;

/** The menu of `text`, a textarea. `commands()`: [{name, description, hint}]; `picked()` is called after a choice. */
export class SlashMenu {
  #found = [];
  #at = 0;
  #closed = ''; // what stood there when it was closed by Escape

  constructor(text, commands, picked) {
    this.text = text;
    this.commands = commands;
    this.picked = picked;
    this.element = el('ul', { class: 'menu slash', id: 'slash', role: 'listbox', aria: { label: 'Commands' }, hidden: true });
    text.setAttribute('aria-autocomplete', 'list');
    text.setAttribute('aria-controls', 'slash');
    text.addEventListener('blur', () => setTimeout(() => this.#show(false), 150));
  }

  get open() {
    return !this.element.hidden;
  }

  /** Looks at what is written. */
  update() {
    const typed = /^\/(\S*)$/.exec(this.text.value)?.[1];
    if (typed === undefined || this.text.value === this.#closed || document.activeElement !== this.text) {
      this.#show(false);
      return;
    }
    this.#closed = '';
    const words = typed.toLowerCase();
    const all = this.commands();
    const first = all.filter((it) => it.name.toLowerCase().startsWith(words));
    const others = all.filter((it) => !first.includes(it) && `${it.name} ${it.description ?? ''}`.toLowerCase().includes(words));
    this.#found = [...first, ...others].slice(0, MOST);
    this.#at = 0;
    this.#draw();
  }

  /** A key of the textarea. Returns whether it was meant for the menu. */
  key(event) {
    if (!this.open) return false;
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by) this.#move(by);
    else if ((event.key === 'Enter' && !event.shiftKey) || event.key === 'Tab') this.#pick(this.#at);
    else if (event.key === 'Escape') this.#dismiss();
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  #dismiss() {
    this.#closed = this.text.value;
    this.#show(false);
  }

  #move(by) {
    this.#at = (this.#at + by + this.#found.length) % this.#found.length;
    this.#draw();
  }

  #pick(at) {
    const command = this.#found[at];
    if (command === undefined) return;
    this.text.value = `/${command.name} `;
    this.#show(false);
    this.text.focus();
    this.picked();
  }

  #draw() {
    this.element.replaceChildren(...this.#found.map((command, at) => this.#option(command, at)));
    this.#show(this.#found.length > 0);
    if (!this.open) return;
    this.text.setAttribute('aria-activedescendant', `slash-${this.#at}`);
    this.element.children[this.#at]?.scrollIntoView({ block: 'nearest' });
  }

  #option({ name, description, hint }, at) {
    const pick = (event) => {
      event.preventDefault();
      this.#pick(at);
    };
    return el(
      'li',
      { id: `slash-${at}`, role: 'option', aria: { selected: at === this.#at }, on: { mousedown: pick } },
      el('span', { class: 'mono', text: `/${reveal(name)}` }),
      hint && el('span', { class: 'dim mono', text: reveal(hint) }),
      description && el('span', { class: 'dim slash-about', text: reveal(description) }),
    );
  }

  #show(open) {
    this.element.hidden = !open;
    if (!open) this.text.removeAttribute('aria-activedescendant');
  }
}
