/** What the parts of the state page are built of. */

import { el } from './dom.js';

/** A part of the page under its name. */
export function panel(title, ...children) {
  return el('section', { class: 'card state-panel' }, el('h3', { text: title }), children);
}

/** A table; `columns` are headings, `rows` lists of cells. What it says where there are none is `empty`. */
export function table(columns, rows, empty) {
  if (!rows.length) return el('p', { class: 'dim', text: empty });
  const head = el('tr', {}, columns.map((text) => el('th', { scope: 'col', text })));
  // Headings stand beside the cells where the page is too narrow for a table.
  const cells = (row) => row.map((cell, at) => el('td', { data: { label: columns[at] } }, cell && el('span', { class: 'cell' }, cell)));
  return el('table', { class: 'state-table' }, el('thead', {}, head), el('tbody', {}, rows.map((row) => el('tr', {}, cells(row)))));
}
