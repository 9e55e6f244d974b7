/** What is said to the person beside the conversation: short notes, and announcements for screen readers. */

const said = { polite: null, assertive: null };
const MOST = 4;
let shelf = null;

/** Where notes and announcements appear: three elements of index.html. */
export function mountToasts(root) {
  shelf = root.querySelector('#toasts');
  said.polite = root.querySelector('#said');
  said.assertive = root.querySelector('#said-now');
}

/** Says `text` to a screen reader. */
export function announce(text, { assertive = false } = {}) {
  const region = assertive ? said.assertive : said.polite;
  if (region === null) return;
  region.textContent = '';
  // An unchanged text is not read again, an emptied and refilled one is.
  setTimeout(() => (region.textContent = text), 60);
}

/**
 * Shows a note for a while. `kind`: info or error; `action`: {label, run} as a button in it. Returns what takes it away.
 */
export function toast(text, { kind = 'info', seconds = kind === 'error' ? 10 : 4, action = null } = {}) {
  if (shelf === null) return () => {};
  const note = document.createElement('div');
  note.className = `toast ${kind}`;
  note.setAttribute('role', kind === 'error' ? 'alert' : 'status');
  const words = document.createElement('span');
  words.textContent = text;
  note.append(words);
  const close = () => note.remove();
  if (action !== null) note.append(button(action.label, () => (close(), action.run())));
  note.append(button('Dismiss', close, '×'));
  shelf.append(note);
  while (shelf.children.length > MOST) shelf.firstElementChild.remove();
  setTimeout(close, seconds * 1000);
  return close;
}

function button(label, run, shown = label) {
  const made = document.createElement('button');
  made.type = 'button';
  made.className = shown === label ? 'button quiet small' : 'icon-button';
  made.textContent = shown;
  made.setAttribute('aria-label', label);
  made.addEventListener('click', run);
  return made;
}
