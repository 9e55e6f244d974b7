/** An address that an agent asks its person to open: whole and in plain sight, and opened by nobody but them. */

import { addressOf } from './address.js';
import { arm, byWhom, outcome, sending, timeLeft, unanswered } from './asks.js';
import { copyButton, el, icon, reveal } from './dom.js';

/** @returns {{element: HTMLElement, update: (item: any, ctx: any) => void}} */
export function visitCard(item, ctx, inside = false) {
  const { payload } = item;
  const address = addressOf(payload.url);
  const shown = { mine: false, over: false };
  const note = el('p', { class: 'ask-note', role: 'alert' });
  const give = (action) => {
    shown.mine = true;
    return sending({ buttons, note }, () => ctx.fill(payload.id, action));
  };
  const visit = () => {
    window.open(address.href, '_blank', 'noopener,noreferrer');
    give('accept');
  };
  const open = address && el('button', { type: 'button', class: 'button primary', data: { primary: '' }, on: { click: visit } }, icon('globe'), 'Open in a new tab');
  const decline = el('button', { type: 'button', class: 'button quiet', on: { click: () => give('decline') } }, 'Decline');
  const buttons = [decline, open].filter(Boolean);
  const heading = el('h3', { class: 'ask-title', tabindex: -1, text: 'The agent asks you to open an address' });
  const head = el('header', { class: 'card-head' }, icon('globe'), heading, timeLeft(payload));
  // As it stands: a link in it would be another address than the one that is asked about.
  const message = el('p', { class: 'ask-said', text: reveal(payload.message ?? '') });
  const place = el('div', { class: 'visit-place' }, el('p', { class: 'visit-address mono', dir: 'ltr' }, spelled(payload.url, address)), address && copyButton(() => address.href));
  const doubts = (address?.doubts ?? ['This is no address of the web: it cannot be opened.']).map((text) => el('p', { class: 'ask-warning' }, icon('key'), text));
  const body = el('div', { class: 'ask-body' }, message, place, doubts);
  const footer = el('footer', { class: 'ask-buttons' }, buttons);
  const label = `The agent asks you to open an address${address ? ` at ${address.host}` : ''}`;
  const element = el('section', { class: `ask visit${inside ? '' : ' card'}`, role: 'group', aria: { label } }, head, body, note, footer);
  arm(buttons);
  if (item.answer === null && !item.lapsed) ctx.announce?.(label, { assertive: true });

  function update(next) {
    if (shown.over || (next.answer === null && !next.lapsed)) return;
    shown.over = true;
    const had = element.contains(document.activeElement);
    const past = el('details', { class: 'ask-past' }, el('summary', {}, closing(next, shown.mine), el('span', { class: 'ask-about mono', text: address?.host ?? '' })), body);
    element.classList.add('answered');
    element.replaceChildren(past);
    if (had) past.firstChild.focus({ preventScroll: true });
  }

  update(item);
  return { element, update };
}

/** The address with its host in bold: that is what decides where it leads. */
function spelled(url, address) {
  if (address === null) return reveal(url ?? '');
  return [reveal(address.before), el('strong', { class: 'visit-host', text: reveal(address.host) }), reveal(address.after)];
}

function closing({ answer, payload }, mine) {
  if (answer === null) return outcome('warn', 'Withdrawn: the turn has ended');
  if (answer.action === 'accept') return outcome('good', mine ? 'You opened it' : `Opened${byWhom(answer, mine)}`);
  if (answer.action === 'decline') return outcome('bad', mine ? 'You declined' : `Declined${byWhom(answer, mine)}`);
  return outcome('warn', answer.resolvedBy ? `Closed without an answer${byWhom(answer, false)}` : unanswered(payload, answer));
}
