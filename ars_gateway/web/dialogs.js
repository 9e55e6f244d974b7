/** Questions of the page itself: small dialogs that keep the focus, close by Escape and give it back. */

import { el } from './dom.js';

/** Asks whether to go on. Resolves to true or false. */
export function confirmed(title, text, label, { danger = false } = {}) {
  const go = el('button', { class: `button ${danger ? 'danger' : 'primary'}`, value: 'yes', autofocus: true, text: label });
  return open(title, [el('p', { text })], go).then((answer) => answer === 'yes');
}

/** Asks for a line of text. Resolves to it, or to null. */
export async function asked(title, label, value = '') {
  const input = el('input', { type: 'text', maxlength: '64', autofocus: true, value });
  const field = el('label', { class: 'field' }, el('span', { text: label }), input);
  const answer = open(title, [field], el('button', { class: 'button primary', value: 'yes', text: 'Save' }));
  input.select();
  return (await answer) === 'yes' ? input.value.trim() : null;
}

/** Shows something until it is closed. */
export function shown(title, ...content) {
  return open(title, content, null);
}

function open(title, content, go) {
  const cancel = el('button', { class: 'button', value: 'no', formnovalidate: true, text: go ? 'Cancel' : 'Close' });
  const heading = el('h2', { id: 'dialog-title', text: title });
  const form = el('form', { method: 'dialog' }, heading, content, el('div', { class: 'dialog-buttons' }, cancel, go));
  const dialog = el('dialog', { class: 'dialog', aria: { labelledby: 'dialog-title' } }, form);
  // Enter in a field says yes: the first submit button of a form is what it presses.
  form.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && event.target instanceof HTMLInputElement && go) {
      event.preventDefault();
      dialog.close('yes');
    }
  });
  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close('no'));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue || 'no');
    });
  });
}
