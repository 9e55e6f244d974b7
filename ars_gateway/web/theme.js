/** Light, dark, or as the system has it: kept in this browser. */

const KEY = 'ars.theme';
const NEXT = { auto: 'light', light: 'dark', dark: 'auto' };

/** What is chosen: auto, light or dark. */
export function theme() {
  const kept = localStorage.getItem(KEY);
  return kept === 'light' || kept === 'dark' ? kept : 'auto';
}

/** Shows the page as chosen. */
export function applyTheme() {
  const chosen = theme();
  if (chosen === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

/** The next of the three; returns it. */
export function turnTheme() {
  const chosen = NEXT[theme()];
  localStorage.setItem(KEY, chosen);
  applyTheme();
  return chosen;
}
