/** The review of a patch, hunk by hunk: each is taken or left, by its buttons or by keys, and only what was taken is sent. */

import { arm, byWhom, onKeys, outcome, sending, timeLeft, unanswered } from './asks.js';
import { count, counts, hunkTable, pathText } from './diff.js';
import { el, icon, reveal } from './dom.js';
import { Decisions } from './hunks.js';

const KEYS = 'j k: next, previous \u00b7 y n: accept, reject \u00b7 A R: the rest \u00b7 u: undo \u00b7 Ctrl Enter: send';
const STATES = { true: ['accepted', 'Accepted'], false: ['rejected', 'Rejected'], null: ['open', 'Not decided'] };

/**
 * @param {any} item  a form
 * @param {import('./hunks.js').Review} review
 * @returns {{element: HTMLElement, update: (item: any, ctx: any) => void}}
 */
export function reviewCard(item, review, ctx, inside = false) {
  const { payload } = item;
  const decisions = new Decisions(review);
  const shown = { mine: null, over: false, at: 0 };
  const note = el('p', { class: 'ask-note', role: 'alert' });
  const hunks = review.choices.map((choice, at) => hunkCard(choice, at, review.choices.length, (accepted) => decide([at], accepted)));
  const files = review.files.map((file) => fileGroup(file, hunks, (accepted) => decide(file.at, accepted)));
  const tally = el('p', { class: 'review-tally', aria: { live: 'polite' } });
  const all = ['Accept all', 'Reject all'].map((text, at) => el('button', { type: 'button', class: 'button quiet small', on: { click: () => rest(at === 0) } }, text));
  const send = el('button', { type: 'button', class: 'button primary', on: { click: submit } });
  const heading = el('h3', { class: 'ask-title', tabindex: -1, text: 'Review this patch' });
  const where = `${review.choices.length} ${review.choices.length === 1 ? 'change' : 'changes'} in ${review.files.length} ${review.files.length === 1 ? 'file' : 'files'}`;
  const head = el('header', { class: 'card-head' }, icon('edit'), heading, el('span', { class: 'dim review-size', text: where }), timeLeft(payload));
  const lead = review.lead && el('p', { class: 'ask-said', text: reveal(review.lead) });
  const list = el('div', { class: 'review-files' }, files);
  const footer = el('footer', { class: 'ask-buttons review-bar' }, tally, all, send);
  const keys = el('p', { class: 'review-keys dim', text: KEYS });
  const element = el('section', { class: `ask review${inside ? '' : ' card'}`, role: 'group', aria: { label: `Review of a patch, ${where}` } }, head, lead, keys, list, note, footer);
  hunks[0].element.dataset.primary = '';
  arm([send]);

  function decide(indices, accepted) {
    decisions.set(indices, accepted);
    draw();
  }

  function rest(accepted) {
    decisions.setRest(accepted);
    draw();
  }

  function draw() {
    const { accepted, open, of } = decisions;
    hunks.forEach((hunk, at) => hunk.show(of[at]));
    const said = [`${accepted} accepted`, `${of.length - accepted - open} rejected`, open && `${open} to decide`];
    tally.textContent = said.filter(Boolean).join(' \u00b7 ');
    send.textContent = accepted ? `Apply ${accepted} of ${of.length}` : open ? 'Apply none' : 'Reject the patch';
    send.classList.toggle('danger', !accepted && !open);
    send.classList.toggle('primary', accepted > 0);
    const words = open === of.length ? ['Accept all', 'Reject all'] : open ? ['Accept the rest', 'Reject the rest'] : ['Accept all', 'Reject all'];
    all.forEach((button, at) => (button.textContent = words[at]));
  }

  function submit() {
    if (send.disabled) return undefined;
    const { action, content } = decisions.answer();
    shown.mine = decisions.accepted;
    const buttons = [send, ...all, ...element.querySelectorAll('.decide')];
    return sending({ buttons, note }, () => ctx.fill(payload.id, action, content));
  }

  function go(at) {
    shown.at = Math.max(0, Math.min(hunks.length - 1, at));
    hunks.forEach((hunk, one) => (hunk.element.tabIndex = one === shown.at ? 0 : -1));
    const { element: card } = hunks[shown.at];
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: 'nearest', behavior: calm() ? 'auto' : 'smooth' });
  }

  /** A decision by key goes on to the next hunk that is open. */
  function answerAndGo(accepted) {
    decide([shown.at], accepted);
    const next = decisions.next(shown.at);
    if (decisions.open) go(next);
    else send.focus();
  }

  const within = (run) => () => !shown.over && run();
  const step = (by) => (event) => (event.target.closest('.review-bar') ? false : go(shown.at + by));
  const keyed = {
    j: within(() => go(shown.at + 1)), k: within(() => go(shown.at - 1)), ArrowDown: step(1), ArrowUp: step(-1),
    y: within(() => answerAndGo(true)), a: within(() => answerAndGo(true)),
    n: within(() => answerAndGo(false)), d: within(() => answerAndGo(false)),
    A: within(() => rest(true)), R: within(() => rest(false)), D: within(() => rest(false)),
    u: within(() => decide([shown.at], null)),
  };
  onKeys(list, keyed);
  onKeys(footer, keyed);
  element.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && !shown.over) {
      event.preventDefault();
      submit();
    }
  });
  list.addEventListener('focusin', (event) => {
    const at = hunks.findIndex((hunk) => hunk.element.contains(event.target));
    if (at >= 0) shown.at = at;
  });
  draw();
  if (item.answer === null && !item.lapsed) ctx.announce?.(`A patch waits for your review: ${where}`, { assertive: true });

  function update(next) {
    if (shown.over || (next.answer === null && !next.lapsed)) return;
    shown.over = true;
    const had = element.contains(document.activeElement);
    const line = closing(next, shown.mine, hunks.length);
    for (const button of list.querySelectorAll('.decide, .file-decide')) button.remove();
    delete hunks[0].element.dataset.primary;
    const past = el('details', { class: 'ask-past' }, el('summary', {}, line), list);
    element.classList.add('answered');
    element.classList.toggle('elsewhere', shown.mine === null);
    element.replaceChildren(past);
    if (had) past.firstChild.focus({ preventScroll: true });
  }

  update(item);
  return { element, update };
}

function hunkCard(choice, at, total, decide) {
  const rows = choice.hunks.flatMap((hunk) => hunk.rows);
  const state = el('span', { class: 'hunk-state' });
  const accept = decider('check', 'Accept', () => decide(true));
  const reject = decider('x', 'Reject', () => decide(false));
  const where = reveal(choice.where.replace(/ ?\(\+\d+ -\d+\)$/, '')) || 'the whole file';
  const head = el('header', { class: 'hunk-head' },
    el('span', { class: 'hunk-number', text: `${at + 1}/${total}` }), el('span', { class: 'hunk-where', text: where }),
    counts({ added: count(rows, '+'), removed: count(rows, '-') }), state, el('span', { class: 'hunk-buttons' }, accept, reject));
  const lines = choice.hunks.length ? hunkTable(choice.hunks, choice.file) : el('p', { class: 'diff-note', text: reveal(choice.title) });
  const element = el('section', { class: 'hunk', role: 'group', tabindex: at === 0 ? 0 : -1 }, head, lines);

  function show(decided) {
    const [name, words] = STATES[decided];
    element.dataset.decided = name;
    state.textContent = words;
    accept.setAttribute('aria-pressed', String(decided === true));
    reject.setAttribute('aria-pressed', String(decided === false));
    element.setAttribute('aria-label', `Change ${at + 1} of ${total}, ${reveal(choice.file)}, ${where}: ${words}`);
  }
  return { element, show };
}

function decider(name, words, run) {
  return el('button', { type: 'button', class: `button small decide ${words.toLowerCase()}`, on: { click: run } }, icon(name), words);
}

function fileGroup({ name, at }, hunks, decide) {
  const both = at.length > 1 && [['Accept file', true], ['Reject file', false]].map(([text, accepted]) =>
    el('button', { type: 'button', class: 'button quiet small file-decide', on: { click: () => decide(accepted) } }, text));
  return el('section', { class: 'review-file' },
    el('header', { class: 'review-file-head' }, icon('file'), named(name), both), at.map((one) => hunks[one].element));
}

/** `Create a/b.md` as what is done and a path. */
function named(name) {
  const [, deed, path] = /^(?:(Create|Delete|Move|Move and edit|Edit) )?([^]*)$/.exec(name);
  return [deed && el('span', { class: 'badge', text: deed.toLowerCase() }), pathText(path)];
}

function closing({ answer, payload }, mine, total) {
  if (answer === null) return outcome('warn', 'Withdrawn: the turn has ended');
  const own = mine !== null;
  if (answer.action === 'accept') return outcome('good', own ? `You accepted ${mine} of ${total}` : `Reviewed${byWhom(answer, own)}: some of it was accepted`);
  if (answer.action === 'decline') return outcome('bad', own ? 'You rejected the patch' : `Rejected${byWhom(answer, own)}`);
  return outcome('warn', answer.resolvedBy ? `Closed without an answer${byWhom(answer, false)}` : unanswered(payload, answer));
}

const calm = () => matchMedia('(prefers-reduced-motion: reduce)').matches;
