/** The way in: by the address that the gateway printed, by a token that is pasted, or, once known, by itself. */

import { el, icon } from './dom.js';

const PAIRING_SECONDS = 3;

/** The token in the address, which is taken out of it at once: it must not stay in the history, nor be shown. */
export function tokenOfAddress() {
  const found = /[#&]token=([^&]+)/.exec(location.hash);
  if (!found) return null;
  history.replaceState(null, '', location.pathname);
  try {
    return decodeURIComponent(found[1]);
  } catch {
    return found[1];
  }
}

/** What a person is told of a refusal, and whether (in how many milliseconds) it is tried again by itself. */
export function explained(error) {
  const { code, message, retryAfterMs, details } = error;
  if (retryAfterMs) {
    return { title: 'Too many wrong tokens', text: 'The gateway lets nobody guess on.', again: retryAfterMs, countdown: true };
  }
  if (code === 'NOT_PAIRED' && details?.requestId) {
    const text = 'Approve it in a page that is signed in (State → Devices), or on the gateway’s machine. This page goes on by itself.';
    return { title: 'This browser waits for approval', text, again: PAIRING_SECONDS * 1000 };
  }
  if (/token missing/.test(message)) return { title: null, text: null };
  if (/mismatch|unauthorized|expired|revoked/.test(message)) {
    return { title: 'That token is not right', text: 'It may have been used already: an address works once, and for a minute. Ask for a new one.' };
  }
  if (/protocol mismatch/.test(message)) return { title: 'This page is of another version', text: 'Reload it.' };
  return { title: 'The gateway did not let this browser in', text: message };
}

/** The sign-in page. `enter(token)` is called with what is pasted. */
export class SignIn {
  #timer = 0;

  constructor(root, client, credentials) {
    this.client = client;
    this.credentials = credentials;
    this.input = el('input', {
      type: 'password', id: 'token', name: 'token', autocomplete: 'off', spellcheck: 'false', required: true,
      placeholder: 'Paste the token', aria: { describedby: 'signin-note' },
    });
    this.note = el('div', { id: 'signin-note', class: 'signin-note', role: 'alert' });
    this.button = el('button', { type: 'submit', class: 'button primary', text: 'Sign in' });
    const form = el(
      'form',
      { class: 'signin-form', on: { submit: (event) => this.#submit(event) } },
      el('label', { class: 'field', for: 'token' }, el('span', { text: 'Token' }), this.input),
      this.button,
    );
    const hint = el(
      'p',
      { class: 'dim' },
      'On the gateway’s machine, ',
      el('code', { class: 'inline', text: 'ars-gateway address' }),
      ' prints an address that signs this browser in. The start of the gateway prints one too.',
    );
    this.element = el(
      'main',
      { class: 'signin' },
      el('div', { class: 'signin-card' }, logo(), el('h1', { text: 'Sign in to the gateway' }), this.note, form, hint),
    );
    root.replaceChildren(this.element);
    this.input.focus();
  }

  /** Shows how it stands. */
  show(phase) {
    clearInterval(this.#timer);
    const busy = phase.name === 'connecting' || phase.name === 'open';
    this.button.disabled = busy;
    this.button.textContent = busy ? 'Signing in…' : 'Sign in';
    if (phase.name === 'waiting') this.#tell('The gateway is not there', `${sentence(phase.why)} Trying again…`);
    if (phase.name === 'refused') this.#refused(phase.error);
  }

  #submit(event) {
    event.preventDefault();
    const token = pasted(this.input.value);
    if (!token) return;
    this.input.value = '';
    this.credentials.token = token;
    this.#tell(null, null);
    if (this.client.phase.name === 'waiting') this.client.wake();
    else this.client.start();
  }

  #refused(error) {
    const { title, text, again, countdown } = explained(error);
    this.#tell(title, text);
    this.input.focus();
    if (!again) return;
    const until = Date.now() + again;
    const step = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      if (left > 0) {
        if (countdown) this.#tell(title, `${text} Try again in ${duration(left)}.`);
        return;
      }
      clearInterval(this.#timer);
      if (countdown) this.#tell(null, null);
      else this.client.start();
    };
    step();
    this.#timer = setInterval(step, 1000);
  }

  #tell(title, text) {
    this.note.replaceChildren(...(title ? [el('strong', { text: title }), el('span', { text: text ?? '' })] : []));
  }

  /** Another page takes its place. */
  close() {
    clearInterval(this.#timer);
    this.element.remove();
  }
}

/** A token, or the one in an address that was pasted whole. */
function pasted(text) {
  const found = /#(?:.*&)?token=([^&\s]+)/.exec(text);
  return found ? decodeURIComponent(found[1]) : text.trim();
}

function sentence(text) {
  return /[.!?…]$/.test(text) ? text : `${text[0].toUpperCase()}${text.slice(1)}.`;
}

function duration(seconds) {
  return seconds >= 90 ? `${Math.ceil(seconds / 60)} minutes` : `${seconds} s`;
}

function logo() {
  return el('span', { class: 'logo', aria: { hidden: true } }, icon('brand'));
}
