/** What can be chosen in the session that is shown (mode, model, whatever its agent offers), and what it has used. */

import { el, reveal } from './dom.js';

const FIRST = ['mode', 'model', 'thought_level'];

/** The choices, and the usage beside them. */
export class Pickers {
  #spelled = null;

  constructor(app) {
    this.app = app;
    this.element = el('div', { class: 'pickers' });
    this.meter = el('span', { class: 'meter', aria: { hidden: true } }, el('span', { class: 'meter-fill' }));
    this.words = el('span', {});
    this.usage = el('span', { class: 'usage dim', hidden: true }, this.meter, this.words);
    for (const topic of ['options', 'chat']) app.store.on(topic, () => this.update());
  }

  update() {
    const { store } = this.app;
    this.#drawUsage(store.chat?.usage, store.row(store.current));
    const offered = choices(store.options.get(store.current));
    const spelled = JSON.stringify([store.current, offered]);
    if (spelled === this.#spelled || this.element.contains(document.activeElement)) return;
    this.#spelled = spelled;
    this.element.replaceChildren(...offered.map((one) => this.#picker(one)));
  }

  #picker({ id, name, type, value, choices: values, description }) {
    const key = this.app.store.current;
    const about = reveal(description ? `${name}: ${description}` : name);
    if (type === 'boolean') {
      const box = el('input', { type: 'checkbox', data: { id }, checked: value === true });
      box.addEventListener('change', () => this.#choose(key, id, box.checked));
      return el('label', { class: 'picker', title: about }, box, reveal(name));
    }
    const option = (it) => el('option', { value: it.value, selected: it.value === value, text: reveal(it.name || it.value) });
    const select = el('select', { class: 'select', data: { id }, title: about, aria: { label: name } }, grouped(values, option));
    if (!values.some((it) => it.value === value)) select.prepend(el('option', { value: '', selected: true, disabled: true, text: reveal(value || name) }));
    select.addEventListener('change', () => this.#choose(key, id, select.value));
    return select;
  }

  async #choose(key, id, value) {
    document.activeElement?.blur(); // it is drawn anew: the focus comes back to what stands in its place
    this.#spelled = null;
    this.element.classList.add('busy');
    await this.app.choose(key, id, value);
    this.element.classList.remove('busy');
    this.update();
    const again = this.element.querySelector(`[data-id="${CSS.escape(id)}"]`);
    if (document.activeElement === document.body) again?.focus();
  }

  #drawUsage(usage, row) {
    const used = usage?.used ?? row?.totalTokens ?? 0;
    const size = usage?.size ?? row?.contextTokens ?? 0;
    this.usage.hidden = !used;
    if (!used) return;
    const share = size ? Math.min(1, used / size) : 0;
    this.meter.hidden = !size;
    this.meter.style.setProperty('--share', String(share));
    this.meter.classList.toggle('full', share > 0.8);
    const cost = usage?.cost?.amount;
    const money = cost ? ` · ${spelledMoney(cost, usage.cost.currency)}` : '';
    this.words.textContent = `${short(used)}${size ? ` / ${short(size)}` : ''}${money}`;
    this.usage.title = `${used.toLocaleString()} tokens of the context${size ? ` of ${size.toLocaleString()} (${Math.round(share * 100)} %)` : ''}${money}`;
  }
}

function choices(options) {
  const all = [...(options?.options ?? [])];
  const has = (name) => all.some((it) => it.id === name || it.category === name);
  if (options?.modes && !has('mode')) all.push(plain('mode', 'Mode', options.modes));
  if (options?.models && !has('model')) all.push(plain('model', 'Model', options.models));
  const rank = (it) => (FIRST.indexOf(it.category ?? it.id) + FIRST.length + 1) % (FIRST.length + 1);
  const known = all.filter((it) => it.type === 'boolean' || (it.choices ?? it.options)?.length > 0);
  return known.map((it) => ({ ...it, choices: it.choices ?? it.options })).sort((one, other) => rank(one) - rank(other));
}

function plain(id, name, { current, available }) {
  const values = available.map((it) => ({ value: it.id, name: it.name, description: it.description }));
  return { id, name, category: id, type: 'select', value: current, choices: values };
}

function grouped(values, option) {
  const groups = new Map();
  for (const it of values) groups.set(it.group ?? '', [...(groups.get(it.group ?? '') ?? []), it]);
  return [...groups].map(([name, some]) => (name ? el('optgroup', { label: reveal(name) }, some.map(option)) : some.map(option)));
}

/** 12345 → 12.3k */
export function short(count) {
  if (count < 1000) return String(count);
  if (count < 10_000) return `${(count / 1000).toFixed(1)}k`;
  return count < 1_000_000 ? `${Math.round(count / 1000)}k` : `${(count / 1_000_000).toFixed(1)}M`;
}

function spelledMoney(amount, currency = 'USD') {
  try {
    return new Intl.NumberFormat(undefined, { style: 'currency', currency, maximumFractionDigits: amount < 1 ? 4 : 2 }).format(amount);
  } catch {
    return `${amount} ${currency}`;
  }
}
