/** A question of permission: what is about to be done, whole and as it is, and the answers that are offered. */

import { arm, byWhom, onKeys, outcome, sending, timeLeft, unanswered } from './asks.js';
import { diffView, pathText } from './diff.js';
import { el, icon, reveal } from './dom.js';
import { offersOf, pickedOf } from './offers.js';

const DEEDS = {
  execute: 'run a command', edit: 'change files', delete: 'delete files', move: 'move files', read: 'read files',
  search: 'search', fetch: 'fetch something', switch_mode: 'switch its mode', think: 'think', other: 'do this',
};
const SAID = {
  'allow-once': ['good', 'You allowed this once', 'Allowed once'],
  'allow-always': ['good', 'You allowed this from now on', 'Allowed from now on'],
  deny: ['bad', 'You denied this', 'Denied'],
};
const MOST_DIFFS = 20;

/** @returns {{element: HTMLElement, update: (item: any, ctx: any) => void}} */
export function permissionCard(item, ctx, inside = false) {
  const { request } = item.payload;
  const about = request._ars ?? {};
  const note = el('p', { class: 'ask-note', role: 'alert' });
  const shown = { mine: null, over: false };
  const offered = offersOf(about.options);
  const choose = (offer) => {
    shown.mine = offer;
    return sending({ buttons, note }, () => ctx.decide(item.payload.id, offer));
  };
  const buttons = ctx.mayDecide ? offered.map((offer) => answerButton(offer, () => choose(offer))) : [];
  const heading = el('h3', { class: 'ask-title', tabindex: -1, data: { primary: '' } }, `${request.agentId && request.agentId !== 'main' ? reveal(request.agentId) : 'The agent'} wants to ${DEEDS[about.kind] ?? DEEDS[about.kind ? 'other' : 'execute']}`);
  const head = el('header', { class: 'card-head' }, icon('question'), heading, about.protected && el('span', { class: 'badge warn', text: 'protected' }), timeLeft(item.payload));
  const cannot = !ctx.mayDecide && el('p', { class: 'dim', text: 'You may watch here, but not answer.' });
  const footer = el('footer', { class: 'ask-buttons' }, cannot, buttons);
  const body = el('div', { class: 'ask-body' }, what(request, about));
  const element = el('section', { class: `ask permission${inside ? '' : ' card'}`, role: 'group', aria: { label: heading.textContent } }, head, body, note, footer);
  arm(buttons);
  onKeys(element, Object.fromEntries(offered.map(({ key }, at) => [key, () => press(buttons[at])])));
  if (item.answer === null && !item.lapsed) ctx.announce?.(heading.textContent, { assertive: true });

  function update(next) {
    if (shown.over || (next.answer === null && !next.lapsed)) return;
    shown.over = true;
    const had = element.contains(document.activeElement);
    const line = closing(next, offered, shown.mine);
    const details = el('details', { class: 'ask-past' }, el('summary', {}, line, !inside && el('span', { class: 'ask-about mono', text: reveal(request.command ?? '').split('\n')[0] })), body);
    element.classList.add('answered');
    element.replaceChildren(details);
    if (had) details.firstChild.focus({ preventScroll: true });
  }

  update(item);
  return { element, update };
}

function answerButton({ decision, kind, name, key }, run) {
  const style = decision === 'allow-once' ? 'button primary' : kind === 'allow_always' ? 'button quiet' : 'button';
  return el('button', { type: 'button', class: style, data: { decision, kind }, aria: { keyshortcuts: key || null }, on: { click: run } }, name, key && el('kbd', { aria: { hidden: true }, text: key }));
}

function press(button) {
  if (button && !button.disabled) button.click();
}

function what(request, about) {
  const parts = [];
  const diffs = (about.diffs ?? []).filter((one) => typeof one?.newText === 'string' || typeof one?.oldText === 'string');
  const isCommand = about.kind === undefined || about.kind === 'execute' || !diffs.length;
  if (isCommand && request.command) parts.push(el('pre', { class: 'command', tabindex: 0, aria: { label: 'What is to be done, whole' }, text: reveal(request.command) }));
  if (about.title && !(isCommand && says(request.command, about.title))) parts.push(el('p', { class: 'ask-said', text: reveal(about.title) }));
  if (request.cwd && isCommand) parts.push(el('p', { class: 'ask-where' }, el('span', { class: 'dim', text: 'in ' }), pathText(request.cwd)));
  const bare = (about.paths ?? []).filter((path) => !diffs.some((one) => one.path === path));
  if (bare.length) parts.push(el('ul', { class: 'places', aria: { label: 'Paths' } }, bare.slice(0, 100).map((path) => el('li', {}, pathText(path)))));
  if (about.protected) parts.push(el('p', { class: 'ask-warning' }, icon('key'), 'It touches a file that steers git, editors or agents, or holds secrets.'));
  parts.push(...diffs.slice(0, MOST_DIFFS).map(diffView));
  if (diffs.length > MOST_DIFFS) parts.push(el('p', { class: 'dim', text: `And ${diffs.length - MOST_DIFFS} more files.` }));
  return parts;
}

/** Whether a title says no more than the command does. */
function says(command, title) {
  return reveal(command ?? '').includes(reveal(title).replace(/^sh: /, ''));
}

function closing({ answer, payload }, offered, mine) {
  if (answer === null) return outcome('warn', 'Withdrawn: the turn has ended');
  if (!answer.decision) return outcome('warn', unanswered(payload, answer));
  const picked = pickedOf(offered, answer);
  const own = mine !== null && mine === picked;
  const [mood, mineSaid, said] = SAID[answer.decision] ?? ['warn', reveal(answer.decision), reveal(answer.decision)];
  // What is one of several is called what the agent calls it.
  const words = picked && !picked.decision ? [`You chose: ${picked.name}`, `${picked.name}: chosen`] : [mineSaid, said];
  return outcome(mood, own ? words[0] : `${words[1]}${byWhom(answer, own)}`);
}
