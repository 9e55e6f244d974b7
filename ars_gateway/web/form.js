/** A form that an agent wants filled; a patch's review, one by its shape, is `review.js`'s, an address `visit.js`'s. */

import { arm, byWhom, outcome, sending, timeLeft, unanswered } from './asks.js';
import { el, icon, reveal } from './dom.js';
import { checkAll, fieldsOf } from './fields.js';
import { controlOf } from './form-controls.js';
import { reviewOf } from './hunks.js';
import { reviewCard } from './review.js';
import { visitCard } from './visit.js';

let count = 0;

/** @returns {{element: HTMLElement, update: (item: any, ctx: any) => void}} */
export function formCard(item, ctx, inside = false) {
  if (item.payload.mode === 'url') return visitCard(item, ctx, inside);
  const review = reviewOf(item.payload);
  return review ? reviewCard(item, review, ctx, inside) : plainForm(item, ctx, inside);
}

function plainForm(item, ctx, inside) {
  const { payload } = item;
  const fields = fieldsOf(payload.requestedSchema);
  count += 1;
  const prefix = `form-${count}`;
  const controls = fields.map((field, at) => controlOf(field, `${prefix}-${at}`));
  const note = el('p', { class: 'ask-note', role: 'alert' });
  const shown = { mine: false, over: false };
  const send = el('button', { type: 'submit', class: 'button primary' }, 'Send answer');
  const decline = el('button', { type: 'button', class: 'button quiet', on: { click: () => give('decline') } }, 'Decline');
  const buttons = [decline, send];
  const heading = el('h3', { class: 'ask-title', tabindex: -1, text: 'The agent asks you' });
  const head = el('header', { class: 'card-head' }, icon('question'), heading, timeLeft(payload));
  const message = el('div', { class: 'ask-message' }, ctx.markdown(payload.message ?? ''));
  const form = el('form', { class: 'ask-form', novalidate: true }, controls.map((one) => one.element), note, el('footer', { class: 'ask-buttons' }, buttons));
  const element = el('section', { class: `ask form${inside ? '' : ' card'}`, role: 'group', aria: { label: `The agent asks: ${reveal(payload.message ?? '').slice(0, 200)}` } }, head, el('div', { class: 'ask-body' }, message, form));
  (controls[0]?.focusable ?? decline).dataset.primary = '';
  arm(buttons);

  const give = (action, content) => {
    shown.mine = true;
    return sending({ buttons, note }, () => ctx.fill(payload.id, action, content));
  };
  const submit = () => {
    if (send.disabled) return;
    const raw = Object.fromEntries(controls.map((one, at) => [fields[at].name, one.read()]));
    const { content, errors } = checkAll(fields, raw);
    controls.forEach((one, at) => one.say(errors.get(fields[at].name) ?? ''));
    if (content === null) {
      note.textContent = errors.size === 1 ? 'One answer needs another look.' : `${errors.size} answers need another look.`;
      controls[fields.findIndex((field) => errors.has(field.name))].focusable.focus();
    } else {
      give('accept', content);
    }
  };
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
  });
  form.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      submit();
    }
  });
  if (item.answer === null && !item.lapsed) ctx.announce?.(`The agent asks: ${reveal(payload.message ?? '')}`, { assertive: true });

  function update(next) {
    if (shown.over || (next.answer === null && !next.lapsed)) return;
    shown.over = true;
    const had = element.contains(document.activeElement);
    const past = el('details', { class: 'ask-past' }, el('summary', {}, closing(next, shown.mine)), el('div', { class: 'ask-body' }, message, shown.mine && next.answer?.action === 'accept' && given(fields, controls)));
    element.classList.add('answered');
    element.replaceChildren(past);
    if (had) past.firstChild.focus({ preventScroll: true });
  }

  update(item);
  return { element, update };
}

/** What was answered here, to read. */
function given(fields, controls) {
  return el('dl', { class: 'given' }, fields.map((field, at) => {
    const raw = controls[at].read();
    const title = (value) => reveal(field.options.find((one) => one.const === value)?.title ?? value);
    const text = Array.isArray(raw) ? raw.map(title).join(', ') : raw === true ? 'Yes' : raw === false ? 'No' : title(raw ?? '');
    return [el('dt', { text: reveal(field.label) }), el('dd', { text: text || '\u2013' })];
  }));
}

function closing({ answer, payload }, mine) {
  if (answer === null) return outcome('warn', 'Withdrawn: the turn has ended');
  if (answer.action === 'accept') return outcome('good', mine ? 'You answered' : `Answered${byWhom(answer, mine)}`);
  if (answer.action === 'decline') return outcome('bad', mine ? 'You declined' : `Declined${byWhom(answer, mine)}`);
  return outcome('warn', answer.resolvedBy ? `Closed without an answer${byWhom(answer, false)}` : unanswered(payload, answer));
}
