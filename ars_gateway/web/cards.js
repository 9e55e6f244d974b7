/** The door to the cards: what the chat shows of tool calls, questions and forms. */

import { formCard } from './form.js';
import { permissionCard } from './permission.js';
import { toolCard } from './tool-card.js';

/** The card of each element, by what the chat holds. */
const cards = new WeakMap();

/**
 * The element of an item of type tool, question or form. Called once for each.
 * @returns {HTMLElement}
 */
export function renderEntry(item, ctx) {
  const card = { tool: toolCard, question: permissionCard, form: formCard }[item.type](item, ctx);
  cards.set(card.element, card);
  return card.element;
}

/** Shows what has changed in an item, or in a terminal of it. Cheap where nothing has. */
export function updateEntry(element, item, ctx) {
  cards.get(element)?.update(item, ctx);
}
