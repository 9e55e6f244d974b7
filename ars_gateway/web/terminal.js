/** A terminal's output in a card: live, followed at its end, long output by its last lines. */

import { AnsiText } from './ansi.js';
import { copyButton, el, frame, reveal } from './dom.js';

const SHOWN_LINES = 200;
// So many lines are built for one picture: the rest of a flood is not worth building.
const MOST_BUILT = 2_000;

/**
 * A view of a terminal. `update(terminal)` takes what has come since: `{chunks, rev}` or null.
 * @param {string} label  what runs in it
 * @returns {{element: HTMLElement, update: (terminal: any) => void, size: number}}
 */
export function terminalView(label) {
  const text = new AnsiText();
  const screen = el('pre', { class: 'terminal-text', tabindex: 0, role: 'log', aria: { label: `Output of ${reveal(label)}`, live: 'off' } });
  const more = el('button', { type: 'button', class: 'button quiet small show-more', hidden: true });
  const tools = el('div', { class: 'terminal-tools' }, copyButton(() => text.plain()));
  const element = el('div', { class: 'terminal', hidden: true }, more, screen, tools);
  const state = { fed: 0, first: 0, whole: false, lines: [], follows: true };
  more.addEventListener('click', () => {
    state.whole = true;
    draw(text, state, screen, more, 0);
  });

  const toEnd = () => (screen.scrollTop = screen.scrollHeight);
  screen.addEventListener('scroll', () => {
    state.follows = screen.scrollHeight - screen.scrollTop - screen.clientHeight < 24;
  });

  function update(terminal) {
    const pieces = fresh(terminal, state);
    if (!pieces.length) return;
    let changed = Infinity;
    for (const piece of pieces) changed = Math.min(changed, text.feed(piece));
    element.hidden = false;
    draw(text, state, screen, more, changed);
    if (state.follows) frame(toEnd);
  }

  return { element, update, get size() { return text.lines.length; } };
}

/** The pieces that were not fed yet. `rev` counts all there ever were; the chat lets go of old ones. */
function fresh(terminal, state) {
  if (!terminal) return [];
  const pieces = terminal.chunks.slice(Math.max(0, terminal.chunks.length - (terminal.rev - state.fed)));
  state.fed = terminal.rev;
  return pieces;
}

function draw(text, state, screen, more, changed) {
  const total = text.dropped + text.lines.length;
  const last = text.lines.length > 1 && text.lines.at(-1).length === 0 ? total - 1 : total;
  const first = Math.max(text.dropped, last - (state.whole ? MOST_BUILT * 5 : SHOWN_LINES));
  if (state.whole && first < state.first) {
    screen.replaceChildren();
    state.lines = [];
    changed = first;
  }
  const gone = Math.min(state.lines.length, Math.max(0, first - state.first));
  for (const line of state.lines.splice(0, gone)) line.remove();
  state.first = first;
  const from = Math.max(first, Math.min(changed, first + state.lines.length));
  for (const line of state.lines.splice(from - first)) line.remove();
  const made = [];
  for (let at = from; at < last; at += 1) made.push(lineOf(text.lines[at - text.dropped]));
  state.lines.push(...made);
  screen.append(...made);
  const hiddenLines = first - text.dropped;
  more.hidden = first === 0;
  more.textContent = hiddenLines > 0 ? `Show all ${last - text.dropped} lines` : `${text.dropped} earlier lines are gone`;
  more.disabled = hiddenLines <= 0;
}

function lineOf(line) {
  const parts = line.runs.map((run) => (run.style ? el('span', { class: run.style, text: reveal(run.text) }) : reveal(run.text)));
  return el('span', { class: 'terminal-line' }, parts, '\n');
}

/**
 * How a command has ended, in words; null where that is not known.
 * @param {any} raw  the tool call's raw output
 */
export function exitOf(raw) {
  if (raw === null || typeof raw !== 'object') return null;
  if (raw.timedOut === true) return { text: 'time was up', good: false };
  if (Number.isInteger(raw.exitCode)) return { text: `exit ${raw.exitCode}`, good: raw.exitCode === 0 };
  if (typeof raw.signal === 'string') return { text: `killed by ${reveal(raw.signal)}`, good: false };
  return null;
}
