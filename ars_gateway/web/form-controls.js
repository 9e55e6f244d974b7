/** The inputs of a form, one control for each kind of field: what is shown, what was put in, what is wrong with it. */

import { el, reveal } from './dom.js';

/**
 * @typedef {{element: HTMLElement, focusable: HTMLElement, read: () => any, say: (error: string) => void}} Control
 * @param {import('./fields.js').Field} field
 * @param {string} id  unique in the page
 * @returns {Control}
 */
export function controlOf(field, id) {
  const made = (MAKERS[field.kind] ?? unknown)(field, id);
  const error = el('p', { class: 'field-error', id: `${id}-error` });
  const hints = [field.description && reveal(field.description), limitsOf(field)].filter(Boolean);
  const hint = hints.length > 0 && el('p', { class: 'field-hint', id: `${id}-hint`, text: hints.join(' \u00b7 ') });
  const described = [hint && `${id}-hint`, `${id}-error`].filter(Boolean).join(' ');
  const label = [reveal(field.label), !field.required && el('span', { class: 'dim optional', text: ' optional' })];
  const element = made.group
    ? el('fieldset', { class: 'field group', aria: { describedby: described } }, el('legend', {}, label), hint, made.group, error)
    : el('div', { class: 'field' }, el('label', { for: id }, label), hint, made.focusable, error);
  for (const one of made.inputs) if (!made.group) one.setAttribute('aria-describedby', described);
  const say = (text) => {
    error.textContent = text;
    element.classList.toggle('wrong', Boolean(text));
    for (const one of made.inputs) one.setAttribute('aria-invalid', text ? 'true' : 'false');
  };
  element.addEventListener('input', () => error.textContent && say(''));
  return { element, focusable: made.focusable, read: made.read, say };
}

const MAKERS = { line, text, radio, select, several, boolean, number, integer: number };

function line(field, id) {
  const value = field.input === 'datetime-local' ? localMoment(field.initial) : textOf(field.initial);
  const input = el('input', { id, class: 'input', type: field.input, value, autocomplete: 'off', spellcheck: 'false', required: field.required });
  return { focusable: input, inputs: [input], read: () => input.value };
}

function text(field, id) {
  const input = el('textarea', { id, class: 'input', rows: 1, value: textOf(field.initial), required: field.required });
  return { focusable: input, inputs: [input], read: () => input.value };
}

function number(field, id) {
  const mode = field.kind === 'integer' && !(field.schema.minimum < 0) ? 'numeric' : 'decimal';
  const input = el('input', { id, class: 'input short', type: 'text', inputmode: mode, value: textOf(field.initial), autocomplete: 'off', required: field.required });
  return { focusable: input, inputs: [input], read: () => input.value };
}

function select(field, id) {
  const options = field.options.map((one) => el('option', { value: one.const, text: reveal(one.title ?? one.const) }));
  const input = el('select', { id, class: 'select', required: field.required }, el('option', { value: '', text: 'Choose\u2026' }), options);
  input.value = field.options.some((one) => one.const === field.initial) ? field.initial : '';
  return { focusable: input, inputs: [input], read: () => input.value };
}

function radio(field, id) {
  const choices = [...field.options, ...(field.required ? [] : [{ const: '', title: 'No answer' }])];
  const inputs = choices.map((one) => el('input', { type: 'radio', name: id, value: one.const, checked: one.const === (field.initial ?? (field.required ? null : '')) }));
  const read = () => inputs.find((one) => one.checked)?.value ?? '';
  return { group: choiceList(inputs, choices, 'radiogroup'), focusable: inputs[0], inputs, read };
}

function several(field) {
  const initial = Array.isArray(field.initial) ? field.initial : [];
  const inputs = field.options.map((one) => el('input', { type: 'checkbox', value: one.const, checked: initial.includes(one.const) }));
  const read = () => inputs.filter((one) => one.checked).map((one) => one.value);
  return { group: choiceList(inputs, field.options, 'group'), focusable: inputs[0], inputs, read };
}

/** Yes or no, neither to begin with: an answer that nobody gave is none. */
function boolean(field, id) {
  const choices = [{ const: 'yes', title: 'Yes' }, { const: 'no', title: 'No' }];
  const inputs = choices.map((one) => el('input', { type: 'radio', name: id, value: one.const, checked: field.initial === (one.const === 'yes') }));
  const read = () => (inputs[0].checked ? true : inputs[1].checked ? false : null);
  return { group: choiceList(inputs, choices, 'radiogroup', 'choices across'), focusable: inputs[0], inputs, read };
}

function unknown(field) {
  const nothing = el('p', { class: 'dim', tabindex: -1, text: 'This page cannot ask for that.' });
  return { group: nothing, focusable: nothing, inputs: [], read: () => null };
}

function choiceList(inputs, choices, role, name = 'choices') {
  return el('div', { class: name, role }, inputs.map((input, at) => {
    const { title, const: value, description } = choices[at];
    return el('label', { class: 'choice' }, input, el('span', {}, reveal(title ?? value), description && el('span', { class: 'dim choice-more', text: reveal(description) })));
  }));
}

function limitsOf({ kind, schema }) {
  const [least, most] = kind === 'several' ? [schema.minItems, schema.maxItems] : [schema.minimum, schema.maximum];
  if (!['several', 'integer', 'number'].includes(kind)) return '';
  if (typeof least === 'number' && typeof most === 'number') return least === most ? `exactly ${least}` : `${least} to ${most}`;
  if (typeof least === 'number' && !(kind === 'several' && least === 0)) return `at least ${least}`;
  return typeof most === 'number' ? `at most ${most}` : '';
}

const textOf = (value) => (value === null || typeof value === 'object' ? '' : String(value));

function localMoment(value) {
  const at = new Date(value ?? NaN);
  if (Number.isNaN(at.valueOf())) return '';
  return new Date(at.valueOf() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
