/** Small plots of values over time, as SVG: axes with round numbers, gaps where nothing was measured. */

import { el, svg } from './dom.js';

const [WIDTH, HEIGHT] = [320, 120];
// What has hardly begun is shown at the end of a minute, not stretched over the whole width.
const LEAST_VALUES = 13;
const [LEFT, RIGHT, TOP, BOTTOM] = [44, 6, 8, 20];

/**
 * @param {{title: string, values: (number|null)[], seconds: number, unit: (value: number) => string, least?: number}} plot
 *        oldest first, one value every `seconds`; `least`: the axis reaches at least so far up
 * @returns {HTMLElement}
 */
export function plot({ title, values, seconds, unit, least = 0 }) {
  const known = values.filter((value) => typeof value === 'number');
  const shown = [...Array(Math.max(0, LEAST_VALUES - values.length)).fill(null), ...values];
  const last = known.at(-1);
  const top = Math.max(...known, least) || 1;
  const step = niceStep(top / 3);
  const limit = Math.ceil(top / step - 1e-9) * step;
  const said = known.length ? `${title}: now ${unit(last)}, highest ${unit(Math.max(...known))}` : `${title}: nothing measured yet`;
  const drawing = svg('svg', { class: 'plot', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', aria: { label: said } },
    axis(limit, step, unit), times(shown.length, seconds), line(shown, limit));
  return el('figure', { class: 'plot-frame' },
    el('figcaption', {}, el('span', { text: title }), el('strong', { text: known.length ? unit(last) : '\u2013' })), drawing);
}

/** The next of 1, 2, 5, 10, 20, … */
export function niceStep(raw) {
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((one) => one * power).find((one) => one >= raw - 1e-12) ?? 10 * power;
}

const inner = { width: WIDTH - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM };
const y = (value, limit) => TOP + inner.height * (1 - value / limit);

function axis(limit, step, unit) {
  const marks = [];
  for (let value = 0; value <= limit + step / 2; value += step) {
    const at = y(value, limit).toFixed(1);
    marks.push(svg('line', { class: 'grid', x1: LEFT, x2: WIDTH - RIGHT, y1: at, y2: at }),
      svg('text', { x: LEFT - 5, y: Number(at) + 3.5, 'text-anchor': 'end', text: unit(value) }));
  }
  return marks;
}

function times(count, seconds) {
  const whole = Math.max(1, (count - 1) * seconds);
  const words = (ago) => (ago === 0 ? 'now' : ago < 120 ? `${Math.round(ago)} s ago` : `${Math.round(ago / 60)} min ago`);
  return [[whole, 'start'], [whole / 2, 'middle'], [0, 'end']].map(([ago, anchor]) =>
    svg('text', { x: LEFT + inner.width * (1 - ago / whole), y: HEIGHT - 5, 'text-anchor': anchor, text: words(ago) }));
}

/** The line, broken where nothing is known; what stands alone is a dot. */
function line(values, limit) {
  const x = (at) => LEFT + (values.length > 1 ? (inner.width * at) / (values.length - 1) : inner.width);
  const pieces = [];
  values.forEach((value, at) => {
    if (typeof value !== 'number') return;
    const point = [x(at), y(Math.max(0, Math.min(value, limit)), limit)];
    if (at > 0 && typeof values[at - 1] === 'number') pieces.at(-1).push(point);
    else pieces.push([point]);
  });
  return pieces.map((piece) => {
    if (piece.length === 1) return svg('circle', { class: 'line-dot', cx: piece[0][0].toFixed(1), cy: piece[0][1].toFixed(1), r: 1.8 });
    const path = piece.map(([px, py]) => `${px.toFixed(1)} ${py.toFixed(1)}`).join('L');
    const floor = (TOP + inner.height).toFixed(1);
    return [svg('path', { class: 'area', d: `M${piece[0][0].toFixed(1)} ${floor}L${path}L${piece.at(-1)[0].toFixed(1)} ${floor}Z` }), svg('path', { class: 'line', d: `M${path}` })];
  });
}

/** Bytes in words: `812 KB`, `1.4 GB`. */
export function bytes(value) {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let [amount, at] = [value, 0];
  while (amount >= 1000 && at < units.length - 1) [amount, at] = [amount / 1000, at + 1];
  return `${amount >= 100 || at === 0 || Number.isInteger(amount) ? Math.round(amount) : amount.toFixed(1)} ${units[at]}`;
}

/** Milliseconds in words. */
export function millis(value) {
  if (value >= 1000) return `${(value / 1000).toFixed(value >= 9950 ? 0 : 1)} s`;
  return `${value >= 10 || Number.isInteger(value) ? Math.round(value) : Number(value.toPrecision(2))} ms`;
}
