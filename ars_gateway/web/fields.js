/** The fields of a form that an agent wants filled, and what is wrong with what was put into them. Pure. */

import { optionsOf } from './hunks.js';

const FEW = 6;
const SHORT = 120;
const INPUTS = { email: 'email', uri: 'url', date: 'date', 'date-time': 'datetime-local' };

/**
 * @typedef {{name: string, label: string, description: string, required: boolean, initial: any, schema: any,
 *            options: {const: string, title: string, description?: string}[],
 *            kind: 'line'|'text'|'radio'|'select'|'several'|'boolean'|'number'|'integer'|'unknown',
 *            input?: string}} Field   `input`: the type of the input element of a line
 */

/**
 * The fields of a schema, in its order.
 * @param {any} schema  a form's `requestedSchema`
 * @returns {Field[]}
 */
export function fieldsOf(schema) {
  const required = Array.isArray(schema?.required) ? schema.required : [];
  return Object.entries(schema?.properties ?? {}).map(([name, one]) => {
    const options = one?.type === 'array' ? optionsOf(one.items) : one?.type === 'string' ? choicesOf(one) : [];
    return {
      name,
      label: typeof one?.title === 'string' && one.title ? one.title : name,
      description: typeof one?.description === 'string' ? one.description : '',
      required: required.includes(name),
      initial: one?.default ?? null,
      schema: one ?? {},
      options,
      ...kindOf(one ?? {}, options),
    };
  });
}

function choicesOf(schema) {
  return optionsOf({ anyOf: schema.oneOf ?? [], enum: schema.enum ?? [] });
}

function kindOf(schema, options) {
  if (schema.type === 'boolean') return { kind: 'boolean' };
  if (schema.type === 'integer' || schema.type === 'number') return { kind: schema.type };
  if (schema.type === 'array') return { kind: options.length ? 'several' : 'unknown' };
  if (schema.type !== 'string') return { kind: 'unknown' };
  if (options.length) return { kind: options.length <= FEW ? 'radio' : 'select' };
  if (INPUTS[schema.format]) return { kind: 'line', input: INPUTS[schema.format] };
  const short = schema.pattern !== undefined || schema.maxLength <= SHORT;
  return short ? { kind: 'line', input: 'text' } : { kind: 'text' };
}

/**
 * What a field's input means: a value, nothing at all, or what is wrong with it.
 * @param {Field} field
 * @param {any} raw  text; a boolean or null; a list of texts where several may be chosen
 * @returns {{value: any} | {skip: true} | {error: string}}
 */
export function check(field, raw) {
  if (field.kind === 'unknown') return field.required ? { error: 'This page cannot fill such a field.' } : { skip: true };
  if (field.kind === 'several') return several(field, raw);
  if (raw === null || raw === undefined || (typeof raw === 'string' && raw.trim() === '')) {
    return field.required ? { error: 'An answer is needed.' } : { skip: true };
  }
  if (field.kind === 'boolean') return { value: raw === true };
  if (field.kind === 'integer' || field.kind === 'number') return number(field, raw.trim());
  if (field.options.length) {
    return field.options.some((one) => one.const === raw) ? { value: raw } : { error: 'Choose one of these.' };
  }
  return text(field, raw);
}

function several({ schema, options, required }, raw) {
  const chosen = options.filter((one) => raw.includes(one.const)).map((one) => one.const);
  const [least, most] = [schema.minItems ?? 0, schema.maxItems ?? Infinity];
  if (!chosen.length && !required) return { skip: true };
  if (chosen.length < least) return { error: least === 1 ? 'Choose at least one.' : `Choose at least ${least}.` };
  if (chosen.length > most) return { error: `Choose at most ${most}.` };
  return { value: chosen };
}

function number({ kind, schema }, raw) {
  const value = Number(raw.replace(',', '.'));
  if (!Number.isFinite(value)) return { error: kind === 'integer' ? 'A whole number, such as 12.' : 'A number, such as 1.5.' };
  if (kind === 'integer' && !Number.isSafeInteger(value)) return { error: 'A whole number, such as 12.' };
  if (typeof schema.minimum === 'number' && value < schema.minimum) return { error: `At least ${schema.minimum}.` };
  if (typeof schema.maximum === 'number' && value > schema.maximum) return { error: `At most ${schema.maximum}.` };
  return { value };
}

function text({ schema }, raw) {
  const length = [...raw].length;
  if (length < (schema.minLength ?? 0)) return { error: `At least ${schema.minLength} characters; this has ${length}.` };
  if (length > (schema.maxLength ?? Infinity)) return { error: `At most ${schema.maxLength} characters; this has ${length}.` };
  if (schema.format === 'email' && !/^[^\s@]+@[^\s@]+$/.test(raw.trim())) return { error: 'An e-mail address, such as ann@example.org.' };
  if (schema.format === 'uri' && !isAddress(raw.trim())) return { error: 'An address, such as https://example.org.' };
  if (schema.format === 'date' && !isDate(raw)) return { error: 'A date, such as 2025-01-31.' };
  if (schema.format === 'date-time') return moment(raw);
  if (schema.pattern !== undefined && !matches(schema.pattern, raw)) return { error: `It has to match ${schema.pattern}` };
  return { value: schema.format ? raw.trim() : raw };
}

function isAddress(raw) {
  return /^[a-z][a-z0-9+.-]*:\S+$/i.test(raw) && URL.canParse(raw);
}

function isDate(raw) {
  const at = new Date(`${raw}T00:00:00Z`);
  return /^\d{4}-\d\d-\d\d$/.test(raw) && !Number.isNaN(at.valueOf()) && at.toISOString().startsWith(raw);
}

function moment(raw) {
  const at = new Date(raw);
  return Number.isNaN(at.valueOf()) ? { error: 'A date with a time.' } : { value: at.toISOString() };
}

// An agent's pattern that takes forever would freeze the page, so long answers and nested repeats are left to the agent.
const SLOW = /[+*}]\)?[+*{]|\([^)]*[+*{][^)]*\)[+*{]|\([^)]*\|[^)]*\)[+*{]/;
const LONGEST_MATCHED = 1_000;

function matches(pattern, raw) {
  if (typeof pattern !== 'string' || raw.length > LONGEST_MATCHED || SLOW.test(pattern)) return true;
  try {
    return new RegExp(pattern, 'u').test(raw);
  } catch {
    return true;
  }
}

/**
 * The whole form: its content, or what is wrong by field.
 * @param {Field[]} fields
 * @param {Record<string, any>} raw
 * @returns {{content: Record<string, any>|null, errors: Map<string, string>}}
 */
export function checkAll(fields, raw) {
  const entries = [];
  const errors = new Map();
  for (const field of fields) {
    const found = check(field, raw[field.name]);
    if ('error' in found) errors.set(field.name, found.error);
    else if ('value' in found) entries.push([field.name, found.value]);
  }
  // Not by assignment: a field may be called __proto__.
  return { content: errors.size ? null : Object.fromEntries(entries), errors };
}
