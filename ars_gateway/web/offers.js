/** What a question of permission can be answered with, pure: each answer with its name, its key and its weight. */

import { reveal } from './dom.js';

const RANKS = ['reject_once', 'reject_always', 'other', 'allow_always', 'allow_once'];
const DECISIONS = { reject_once: 'deny', allow_always: 'allow-always', allow_once: 'allow-once' };
const STANDARD = { reject_once: 'Deny', reject_always: 'Always deny', allow_always: 'Always allow', allow_once: 'Allow once', other: 'Answer' };
const KEYS = { reject_once: 'n', allow_always: 'A', allow_once: 'y' };
const UNTOLD = [{ decision: 'allow-once' }, { decision: 'deny' }];

/**
 * The answers in the order in which they are shown: refusals first, what allows it this once at the end; among one
 * kind as the agent has them. An answer has a letter where it is the only one of its kind, else its number.
 * @param {{optionId?: string, name?: string, kind?: string, decision?: string}[]|undefined} options  as the gateway
 *   tells them; one without an id is chosen by its decision
 * @returns {{optionId?: string, decision?: string, kind: string, name: string, key: string}[]}
 */
export function offersOf(options) {
  const given = (Array.isArray(options) && options.length ? options : UNTOLD).map((one) => ({ ...one, kind: kindOf(one) }));
  const sole = (kind) => given.filter((one) => one.kind === kind).length === 1;
  given.sort((one, other) => RANKS.indexOf(one.kind) - RANKS.indexOf(other.kind));
  return given.map(({ optionId, kind, name, decision = DECISIONS[kind] }, at) => ({
    optionId,
    decision: sole(kind) ? decision : undefined,
    kind,
    name: reveal(name || STANDARD[kind]),
    key: (sole(kind) && KEYS[kind]) || (at < 9 ? String(at + 1) : ''),
  }));
}

function kindOf({ kind, decision }) {
  const found = kind ?? Object.keys(DECISIONS).find((one) => DECISIONS[one] === decision);
  return RANKS.includes(found) ? found : 'other';
}

/** The offer that an answer has picked; undefined where nobody answered. */
export function pickedOf(offers, answer) {
  const id = answer?._ars?.optionId;
  return offers.find((one) => (id === undefined ? answer?.decision && one.decision === answer.decision : one.optionId === id));
}
