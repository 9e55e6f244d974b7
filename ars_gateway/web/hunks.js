/** The review of a patch as what it is made of: files, hunks, and what is decided of each. Pure. */

import { reveal } from './dom.js';
import { parseHunks } from './patch-text.js';

/**
 * @typedef {{id: string, title: string, file: string, where: string, lines: string[],
 *            hunks: import('./patch-text.js').Hunk[]}} Choice   one thing to take or to leave
 * @typedef {{field: string, lead: string, choices: Choice[], files: {name: string, at: number[]}[]}} Review
 */

/**
 * A form as a review; null where it is another form. A review is one list to pick from, whose options stand in the
 * message, each with its diff below.
 * @param {{message: string, requestedSchema?: {properties?: Record<string, any>}}} form
 * @returns {Review|null}
 */
export function reviewOf(form) {
  const fields = Object.entries(form.requestedSchema?.properties ?? {});
  if (fields.length !== 1 || fields[0][1]?.type !== 'array') return null;
  const [name, schema] = fields[0];
  const options = optionsOf(schema.items);
  if (!options.length) return null;
  const { lead, below } = split(form.message ?? '', options);
  const choices = options.map((option, at) => choice(option, option.description?.split('\n') ?? below[at]));
  if (!choices.some((one) => one.lines.some((line) => '+-'.includes(line[0] ?? ' ')))) return null;
  const files = [];
  choices.forEach((one, at) => {
    const known = files.find((file) => file.name === one.file);
    if (known) known.at.push(at);
    else files.push({ name: one.file, at: [at] });
  });
  return { field: name, lead, choices, files };
}

/** The options of a multiple choice: `{const, title, description?}` each. */
export function optionsOf(items) {
  const titled = Array.isArray(items?.anyOf) ? items.anyOf : Array.isArray(items?.oneOf) ? items.oneOf : [];
  const plain = Array.isArray(items?.enum) ? items.enum.map((value) => ({ const: value, title: value })) : [];
  return [...titled, ...plain].filter((one) => typeof one?.const === 'string');
}

/** What stands in `message` before the first option's title, and below each title, in the order of the options. */
function split(message, options) {
  // The gateway writes out what nobody would see, in the message but not in the titles.
  const titles = options.map((option) => reveal(option.title ?? option.const));
  const below = options.map(() => []);
  const lead = [];
  let at = -1;
  for (const line of message.split('\n')) {
    if (at + 1 < titles.length && reveal(line) === titles[at + 1]) at += 1;
    else (at < 0 ? lead : below[at]).push(line);
  }
  for (const lines of below) while (lines.length && !lines.at(-1).trim()) lines.pop();
  return { lead: lead.join('\n').trim(), below };
}

function choice(option, lines) {
  const title = option.title ?? option.const;
  const [, file, where] = /^(?:\d+: )?([^]*?)((?:, line \d+| @@)[^]*)?$/.exec(title);
  return { id: option.const, title, file, where: (where ?? '').replace(/^, /, ''), lines, hunks: parseHunks(lines) };
}

/** What is decided of each choice of a review: `true`, `false`, or nothing yet. */
export class Decisions {
  /** @param {Review} review */
  constructor(review) {
    this.review = review;
    this.of = review.choices.map(() => null);
  }

  /** Decides on these choices. */
  set(indices, accepted) {
    for (const at of indices) this.of[at] = accepted;
  }

  /** Decides on all of them that are still open; on all where none is. */
  setRest(accepted) {
    const open = this.of.flatMap((decided, at) => (decided === null ? [at] : []));
    this.set(open.length ? open : this.of.keys(), accepted);
  }

  get accepted() {
    return this.of.filter((decided) => decided === true).length;
  }

  get open() {
    return this.of.filter((decided) => decided === null).length;
  }

  /** The next choice after `at` on which nothing is decided, from the beginning again; `at` where there is none. */
  next(at) {
    const { length } = this.of;
    for (let step = 1; step <= length; step += 1) {
      if (this.of[(at + step) % length] === null) return (at + step) % length;
    }
    return at;
  }

  /** What to answer the form: only what was accepted is taken, and where that is nothing it is declined. */
  answer() {
    const taken = this.review.choices.filter((_, at) => this.of[at] === true).map((one) => one.id);
    return taken.length ? { action: 'accept', content: { [this.review.field]: taken } } : { action: 'decline' };
  }
}
