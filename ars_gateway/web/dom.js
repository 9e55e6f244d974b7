/** Building the page: elements from plain data. Text is text; nothing here, or anywhere in the page, reads HTML. */

const SVG = 'http://www.w3.org/2000/svg';
const PROPERTIES = new Set(['value', 'checked', 'disabled', 'indeterminate', 'open', 'hidden', 'readOnly', 'selected']);
const SAFE_SCHEMES = new Set(['http:', 'https:', 'mailto:']);

/**
 * What nobody would see: controls, escapes, marks of direction, what has no width. The joiners stay, since languages
 * are written with them.
 */
const HIDDEN = new RegExp(
  '[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e' +
    '\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\u{e0000}-\\u{e007f}]|\\p{Surrogate}',
  'gu',
);

/** `text` with what nobody would see in it written out; CR before LF is left away. */
export function reveal(text) {
  return String(text)
    .replaceAll('\r\n', '\n')
    .replace(HIDDEN, (found) => `\\u${found.codePointAt(0).toString(16).padStart(4, '0')}`);
}

/** A link's address where it is one that a page may follow: http, https or mailto, written whole. Else null. */
export function safeHref(address) {
  try {
    const url = new URL(String(address));
    return SAFE_SCHEMES.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** An element. `props`: class, text, on, data, aria, any attribute; children: nodes, strings, null, false, arrays. */
export function el(tag, props, ...children) {
  return filled(document.createElement(tag), props, children);
}

/** As `el`, for SVG. */
export function svg(tag, props, ...children) {
  return filled(document.createElementNS(SVG, tag), props, children);
}

function filled(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value !== null && value !== undefined) set(element, name, value);
  }
  add(element, children);
  return element;
}

function set(element, name, value) {
  if (name === 'class') element.setAttribute('class', value);
  else if (name === 'text') element.textContent = value;
  else if (name === 'on') for (const [event, run] of Object.entries(value)) element.addEventListener(event, run);
  else if (name === 'data') Object.assign(element.dataset, value);
  else if (name === 'aria') setAria(element, value);
  else if (name === 'href') setHref(element, value);
  else if (PROPERTIES.has(name)) element[name] = value;
  else if (value !== false) element.setAttribute(name, value === true ? '' : String(value));
}

function setAria(element, values) {
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined) element.setAttribute(`aria-${name}`, String(value));
  }
}

function setHref(element, address) {
  const safe = safeHref(address);
  if (safe === null) return;
  element.setAttribute('href', safe);
  element.setAttribute('rel', 'noopener noreferrer');
  element.setAttribute('target', '_blank');
}

function add(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(element, child);
    else if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

const ICONS = {
  check: 'M4 12.5l5 5L20 6.5',
  x: 'M6 6l12 12M18 6L6 18',
  chevron: 'M9 6l6 6-6 6',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  stop: 'M7 7h10v10H7z',
  send: 'M12 20V5M5.5 11.5L12 5l6.5 6.5',
  plus: 'M12 5v14M5 12h14',
  menu: 'M4 7h16M4 12h16M4 17h16',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l4 4',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M5 19l1.4-1.4M17.6 6.4L19 5',
  moon: 'M20 14.5A8 8 0 1 1 9.5 4a6.5 6.5 0 0 0 10.5 10.5z',
  edit: 'M4 20h4L19 9l-4-4L4 16z',
  trash: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10 11v6M14 11v6',
  terminal: 'M4 5h16v14H4zM7.5 9l3 3-3 3M12.5 15h4',
  file: 'M6 3h8l4 4v14H6zM14 3v4h4',
  globe: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM3 12h18M12 3c3 3 3 15 0 18M12 3c-3 3-3 15 0 18',
  tool: 'M14 7a4 4 0 0 1 5-4l-2.5 2.5 2 2L21 5a4 4 0 0 1-5.5 5L7 18.5 5.5 17z',
  brain: 'M9 4a3 3 0 0 0-3 3 3.5 3.5 0 0 0-1 6 3.5 3.5 0 0 0 3 5.5A2.5 2.5 0 0 0 12 18V6a2.5 2.5 0 0 0-3-2zM15 4a3 3 0 0 1 3 3 3.5 3.5 0 0 1 1 6 3.5 3.5 0 0 1-3 5.5A2.5 2.5 0 0 1 12 18',
  question: 'M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4M12 17.5v.5',
  dots: 'M5 12h.01M12 12h.01M19 12h.01',
  circle: 'M12 6a6 6 0 1 0 0 12 6 6 0 0 0 0-12z',
  down: 'M12 5v14M6 13l6 6 6-6',
  refresh: 'M19 6v5h-5M5 18v-5h5M18 11a6.5 6.5 0 0 0-11-3.5M6 13a6.5 6.5 0 0 0 11 3.5',
  clip: 'M19 11l-7.5 7.5a4.5 4.5 0 0 1-6.4-6.4L13 4.3a3 3 0 0 1 4.3 4.3L9.6 16.2a1.5 1.5 0 0 1-2.1-2.1L14 7.6',
  key: 'M8 9a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM11.5 11.5L20 4M16 7.5l3 3',
  pulse: 'M3 12h4l3-8 4 16 3-8h4',
  auto: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 4v16M15 5v14M18 7v10',
  brand: 'M6 19L12 5l6 14M8.2 14.5h7.6',
  exit: 'M14 4h5v16h-5M10 8l-4 4 4 4M6 12h9',
};

/** A small drawing, in the colour of the text, that a screen reader passes over. */
export function icon(name) {
  const path = svg('path', { d: ICONS[name] ?? ICONS.tool });
  return svg('svg', { class: 'icon', viewBox: '0 0 24 24', aria: { hidden: true }, focusable: 'false' }, path);
}

/** A button that puts what `getText` returns on the clipboard, and says so. */
export function copyButton(getText, label = 'Copy') {
  const words = el('span', { text: label });
  const button = el('button', { type: 'button', class: 'copy button quiet small' }, icon('copy'), words);
  let timer = 0;
  button.addEventListener('click', async () => {
    words.textContent = (await copied(getText())) ? 'Copied' : 'Not copied';
    clearTimeout(timer);
    timer = setTimeout(() => (words.textContent = label), 1600);
  });
  return button;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/** Runs `work` before the next picture, or within a quarter of a second where the page is not shown. */
export function frame(work) {
  if (document.visibilityState === 'visible') requestAnimationFrame(work);
  else setTimeout(work, 250);
}

export { announce, toast } from './toasts.js';
