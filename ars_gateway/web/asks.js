/** What questions and forms have in common: time that runs, the line that says how it has ended, buttons that wait. */

import { el, icon, reveal } from './dom.js';

const ARMED_MS = 500;
const HURRY_MS = 30_000;

const ticking = new Map();
let timer = 0;

/**
 * Calls `run(now)` once a second for as long as `element` is in the page. The first call comes at once.
 * @param {Element} element
 * @param {(now: number) => void} run
 */
export function everySecond(element, run) {
  run(Date.now());
  ticking.set(element, { run, seen: false });
  timer ||= setInterval(tick, 1000);
}

/** Ends what `everySecond` began for this element. */
export function noMore(element) {
  ticking.delete(element);
}

function tick() {
  const now = Date.now();
  for (const [element, one] of ticking) {
    one.seen ||= element.isConnected;
    if (one.seen && !element.isConnected) ticking.delete(element);
    else one.run(now);
  }
  if (!ticking.size) {
    clearInterval(timer);
    timer = 0;
  }
}

/**
 * A span of time in words, short: `8 s`, `2:05`, `1 h 12 min`.
 * @param {number} ms
 */
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return hours < 48 ? `${hours} h ${minutes} min` : `${Math.floor(hours / 24)} days`;
}

/** How long a question can still be answered, as it runs out. Clocks differ: it never shows more than there ever was. */
export function timeLeft({ createdAtMs, expiresAtMs }) {
  const shown = el('span', { class: 'time-left', title: 'After that nobody has answered' });
  if (!(expiresAtMs > 0)) return shown;
  everySecond(shown, (now) => {
    const left = Math.min(expiresAtMs - createdAtMs, expiresAtMs - now);
    shown.textContent = left > 0 ? `${span(left)} left` : 'time is up';
    shown.classList.toggle('hurry', left < HURRY_MS);
  });
  return shown;
}

/**
 * Buttons that take no press until they have been in sight for a moment: what appears below a finger or a cursor is
 * not answered by it.
 * @param {HTMLButtonElement[]} buttons
 */
export function arm(buttons) {
  for (const button of buttons) button.disabled = true;
  setTimeout(() => buttons.forEach((button) => (button.disabled = button.dataset.busy === 'yes')), ARMED_MS);
}

/**
 * Sends an answer: buttons are off meanwhile; what goes wrong is said in `note`, and they are on again.
 * @param {{buttons: HTMLButtonElement[], note: HTMLElement}} card
 * @param {() => Promise<void>} send
 */
export async function sending({ buttons, note }, send) {
  const set = (busy) => {
    for (const button of buttons) {
      button.disabled = busy;
      button.dataset.busy = busy ? 'yes' : '';
    }
  };
  set(true);
  note.textContent = '';
  try {
    await send();
  } catch (error) {
    note.textContent = reveal(error?.message ?? 'It could not be sent.');
    set(false);
  }
}

/** Who has answered, in words that follow the deed: ` by Ann`, or nothing where it was this page. */
export function byWhom(answer, mine) {
  return mine || !answer.resolvedBy ? '' : ` by ${reveal(answer.resolvedBy)}`;
}

/** Why nobody has answered. */
export function unanswered(payload, answer) {
  const late = (answer.ts ?? Date.now()) >= (payload.expiresAtMs ?? Infinity) - 1_000;
  return late ? 'Nobody answered in time' : 'Withdrawn before anybody answered';
}

/**
 * The line that stands where the question was.
 * @param {'good'|'bad'|'warn'} mood
 */
export function outcome(mood, text) {
  const name = { good: 'check', bad: 'x', warn: 'stop' }[mood];
  return el('p', { class: `outcome ${mood}`, tabindex: -1, role: 'status' }, icon(name), el('span', { text }));
}

/**
 * Keys of a card: `keys[event.key]` is called unless something is being typed, or a modifier is held. Where it returns
 * false the key is left to others; it never is otherwise, since to the page it means something else.
 */
export function onKeys(element, keys) {
  element.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest('input, textarea, select, [contenteditable], pre')) return;
    const run = keys[event.key];
    if (run && run(event) !== false) event.preventDefault();
  });
}
