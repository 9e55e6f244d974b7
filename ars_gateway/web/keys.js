/** The keyboard: what each key does outside of fields, and the page of help that lists them. */

import { shown } from './dialogs.js';
import { el } from './dom.js';

const CHORD_MS = 1200;

const HELP = [
  ['Everywhere', [
    ['Ctrl K', 'Search the sessions'],
    ['Alt ↑ / Alt ↓', 'The session before, the next one'],
    ['Esc', 'Stop the turn; close a menu'],
  ]],
  ['Outside of fields', [
    ['/', 'Write a message'],
    ['n', 'New session'],
    ['j / k', 'Scroll down, up'],
    ['End', 'To the newest'],
    ['g q', 'To the question that waits'],
    ['g s', 'State of the gateway'],
    ['g c', 'Back to the conversation'],
    ['[', 'Show or hide the sessions'],
    ['t', 'Theme: system, light, dark'],
    ['?', 'This help'],
  ]],
  ['While writing', [
    ['Enter', 'Send; queue while a turn goes on'],
    ['Ctrl Enter', 'Steer: say it into the running turn'],
    ['Shift Enter', 'New line'],
    ['↑ / ↓', 'Former messages'],
    ['/', 'The agent’s commands'],
    ['Esc', 'Leave the field; while a turn goes on, stop it'],
  ]],
  ['In the list of sessions', [
    ['↑ / ↓', 'Move'],
    ['Enter', 'Open'],
    ['F2', 'Rename'],
    ['Delete', 'Delete'],
  ]],
];

/** Listens to the keyboard. `acts`: what each shortcut does, by name. */
export function listen(acts) {
  let chord = 0;
  const plain = {
    '/': acts.write, n: acts.fresh, j: () => acts.page(1), k: () => acts.page(-1), End: acts.end, '[': acts.side,
    t: acts.theme, '?': help,
  };
  const chords = { q: acts.waiting, s: acts.state, c: acts.chat };
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.isComposing || document.querySelector('dialog[open]')) return;
    const run = found(event);
    if (run === undefined) return;
    event.preventDefault();
    run();
  });

  function found(event) {
    const control = event.ctrlKey || event.metaKey;
    if (control && !event.altKey && event.key.toLowerCase() === 'k') return acts.find;
    if (event.altKey && !control && event.key === 'ArrowUp') return () => acts.step(-1);
    if (event.altKey && !control && event.key === 'ArrowDown') return () => acts.step(1);
    if (control || event.altKey) return undefined;
    if (event.key === 'Escape') return inField(event.target) ? undefined : acts.stop;
    if (inField(event.target)) return undefined;
    const second = Date.now() - chord < CHORD_MS ? chords[event.key] : undefined;
    chord = event.key === 'g' ? Date.now() : 0;
    return second ?? plain[event.key];
  }
}

/** Shows the shortcuts. */
export function help() {
  const group = ([name, rows]) => el('section', {}, el('h3', { text: name }), el('dl', {}, rows.map(row)));
  shown('Keyboard', el('div', { class: 'help' }, HELP.map(group)));
}

function row([keys, words]) {
  const parts = keys.split(' ').map((key) => (key === '/' && keys.length > 1 ? ' / ' : el('kbd', { text: key })));
  return el('div', {}, el('dt', {}, parts), el('dd', { text: words }));
}

function inField(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
