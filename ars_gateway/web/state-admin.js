/** What an administrator sees beside: paired devices and those that ask to be, the configuration to read. */

import { copyButton, el, reveal } from './dom.js';
import { panel, table } from './state-parts.js';

/** @returns {{element: HTMLElement, close: () => void}} */
export function devicesPanel(api) {
  const body = el('div', {});
  const note = el('p', { class: 'state-note', role: 'alert' });

  async function look() {
    try {
      const { pending, paired } = await api.request('device.pair.list', {});
      body.replaceChildren(...[pending.length > 0 && asking(pending, act), known(paired, act)].filter(Boolean));
    } catch (error) {
      body.replaceChildren(el('p', { class: 'dim', text: `Not to be seen here: ${reveal(error?.message ?? error)}` }));
    }
  }

  async function act(method, params, button) {
    button.disabled = true;
    note.textContent = '';
    try {
      await api.request(method, params);
    } catch (error) {
      note.textContent = reveal(error?.message ?? error);
    }
    look();
  }

  look();
  const offs = [api.on('device.pair.requested', look), api.on('device.pair.resolved', look)];
  return { element: panel('Devices', note, body), close: () => offs.forEach((off) => off?.()) };
}

function asking(pending, act) {
  const rows = pending.map((one) => [
    nameOf(one), el('span', { class: 'scopes', text: scopesOf(one) }), ago(one.ts),
    el('span', { class: 'row-buttons' },
      button('Approve', `Approve ${nameOf(one)}`, (it) => act('device.pair.approve', { requestId: one.requestId }, it), 'primary'),
      button('Reject', `Reject ${nameOf(one)}`, (it) => act('device.pair.reject', { requestId: one.requestId }, it))),
  ]);
  return el('div', { class: 'asking' }, el('h4', { text: 'Ask to be paired' }), table(['Device', 'Wants', 'Asked', ''], rows, ''));
}

function known(paired, act) {
  const rows = paired.map((one) => {
    const valid = (one.tokens ?? []).filter((token) => !token.revokedAtMs);
    const roles = [...new Set(valid.map((token) => token.role))];
    return [
      [el('span', { text: nameOf(one) }), el('span', { class: 'dim mono', text: ` ${reveal(String(one.deviceId).slice(0, 8))}` })],
      el('span', { class: 'scopes', text: scopesOf(one) }), ago(one.createdAtMs),
      roles.length ? el('span', { class: 'row-buttons' }, roles.map((role) => twice('Revoke', `Revoke ${nameOf(one)}`, (it) => act('device.token.revoke', { deviceId: one.deviceId, role }, it)))) : el('span', { class: 'badge bad', text: 'revoked' }),
    ];
  });
  return table(['Device', 'May', 'Paired', ''], rows, 'No device is paired.');
}

function nameOf(one) {
  return reveal([one.displayName ?? one.clientId ?? 'device', one.platform].filter(Boolean).join(', '));
}

const scopesOf = (one) => reveal((one.scopes ?? []).map((scope) => scope.replace(/^operator\./, '')).join(', '));

function ago(ms) {
  if (!(ms > 0)) return '\u2013';
  return el('time', { datetime: new Date(ms).toISOString(), text: new Date(ms).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' }) });
}

function button(text, label, run, more = '') {
  const made = el('button', { type: 'button', class: `button small ${more}`, aria: { label }, on: { click: () => run(made) } }, text);
  return made;
}

/** A button that asks once more before it does what cannot be undone. */
function twice(text, label, run) {
  let sure = false;
  const made = button(text, label, () => {
    if (sure) return run(made);
    sure = true;
    made.textContent = 'Really?';
    made.setAttribute('aria-label', `${label}: really?`);
    made.classList.add('danger');
    return setTimeout(() => {
      sure = false;
      made.textContent = text;
      made.setAttribute('aria-label', label);
      made.classList.remove('danger');
    }, 4_000);
  });
  return made;
}

/** The configuration, to read; asked for when it is opened. */
export function configPanel(api) {
  const body = el('div', {});
  const details = el('details', {}, el('summary', {}, el('h3', { text: 'Configuration' })), body);
  details.addEventListener('toggle', async () => {
    if (!details.open) return;
    try {
      const { path, config, issues = [] } = await api.request('config.get', {});
      const text = JSON.stringify(config, null, 2);
      body.replaceChildren(
        el('p', { class: 'dim' }, 'In ', el('span', { class: 'mono', text: reveal(path) }), '; change it there, or by config.patch.'),
        ...issues.map((issue) => el('p', { class: 'state-note', text: reveal(`${issue.path || 'it'} ${issue.message}`) })),
        el('pre', { class: 'tool-pre config', tabindex: 0, aria: { label: 'Configuration' }, text: reveal(text) }), copyButton(() => text));
    } catch (error) {
      body.replaceChildren(el('p', { class: 'dim', text: `Not to be seen here: ${reveal(error?.message ?? error)}` }));
    }
  });
  return { element: el('section', { class: 'card state-panel' }, details) };
}
