/** The gateway's log as it grows: by level, by words. */

import { el, reveal } from './dom.js';

const EVERY_MS = 2_000;
const MOST_LINES = 5_000;
const MOST_SHOWN = 400;
const LEVELS = ['debug', 'info', 'warning', 'error'];

/**
 * A line of the log as what it says; lines that are no JSON are kept as they are.
 * @param {string} line
 * @returns {{at: string, level: string, event: string, rest: string, whole: string}}
 */
export function logLine(line) {
  let found = null;
  try {
    found = JSON.parse(line);
  } catch {
    // shown as it is
  }
  if (found === null || typeof found !== 'object') return { at: '', level: 'info', event: '', rest: line, whole: line.toLowerCase() };
  const { timestamp, time, ts, level = 'info', event = '', ...more } = found;
  const rest = Object.entries(more).map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`).join(' ');
  return { at: String(timestamp ?? time ?? ts ?? ''), level: String(level).toLowerCase(), event: String(event), rest, whole: line.toLowerCase() };
}

/** Whether a line is shown: at least of this level, with all of these words in it. */
export function isShown(line, level, words) {
  const rank = LEVELS.indexOf(line.level);
  return (rank < 0 || rank >= LEVELS.indexOf(level)) && words.every((word) => line.whole.includes(word));
}

/** @returns {{element: HTMLElement, close: () => void}} */
export function logsPanel(api) {
  const state = { lines: [], cursor: undefined, timer: 0, closed: false };
  const level = el('select', { class: 'select', aria: { label: 'Least level' } }, LEVELS.map((name) => el('option', { value: name, text: name, selected: name === 'info' })));
  const search = el('input', { type: 'search', class: 'input', placeholder: 'Search', aria: { label: 'Search the log' } });
  const paused = el('input', { type: 'checkbox', checked: true });
  const list = el('ol', { class: 'log', tabindex: 0, aria: { label: 'Log' } });
  const note = el('p', { class: 'dim log-note', role: 'status' });
  const bar = el('div', { class: 'log-bar' }, level, search, el('label', { class: 'choice' }, paused, el('span', { text: 'Follow' })));
  const element = el('section', { class: 'card state-panel' }, el('h3', { text: 'Log' }), bar, note, list);

  async function look() {
    clearTimeout(state.timer);
    try {
      const found = await api.request('logs.tail', state.cursor === undefined ? { limit: 500 } : { cursor: state.cursor, limit: 1000 });
      if (state.closed) return;
      if (found.reset) state.lines = [];
      state.cursor = found.cursor;
      const fresh = found.lines.map(logLine);
      state.lines.push(...fresh);
      state.lines.splice(0, Math.max(0, state.lines.length - MOST_LINES));
      if (fresh.length || found.reset) draw();
      note.textContent = note.dataset.count ?? '';
    } catch (error) {
      if (state.closed) return;
      note.textContent = `The log cannot be read: ${reveal(error?.message ?? error)}`;
    }
    state.timer = setTimeout(look, EVERY_MS);
  }

  function draw() {
    if (!paused.checked && list.childElementCount) return;
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fitting = state.lines.filter((line) => isShown(line, level.value, words));
    list.replaceChildren(...fitting.slice(-MOST_SHOWN).map(row));
    const cut = fitting.length > MOST_SHOWN ? `the last ${MOST_SHOWN} of ` : '';
    note.dataset.count = `${cut}${fitting.length} lines of ${state.lines.length}`;
    note.textContent = note.dataset.count;
    if (paused.checked) list.scrollTop = list.scrollHeight;
  }

  const anew = () => {
    list.replaceChildren();
    draw();
  };
  level.addEventListener('change', anew);
  search.addEventListener('input', anew);
  paused.addEventListener('change', anew);
  look();
  return {
    element,
    close() {
      state.closed = true;
      clearTimeout(state.timer);
    },
  };
}

function row({ at, level, event, rest }) {
  const time = /T(\d\d:\d\d:\d\d)/.exec(at)?.[1] ?? reveal(at);
  const known = LEVELS.includes(level) ? level : 'info';
  return el('li', { class: `log-line ${known}` },
    el('time', { class: 'dim', title: reveal(at), text: time }), el('span', { class: 'log-level', text: reveal(level) }),
    el('span', { class: 'log-event', text: reveal(event) }), el('span', { class: 'log-rest', text: reveal(rest) }));
}
