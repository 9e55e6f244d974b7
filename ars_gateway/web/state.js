/** The state page: how the gateway and its agents are, what runs, who is here, what the log says. */

import { span } from './asks.js';
import { el, reveal } from './dom.js';
import { bytes, millis, plot } from './plots.js';
import { configPanel, devicesPanel } from './state-admin.js';
import { logsPanel } from './state-logs.js';
import { panel, table } from './state-parts.js';

const EVERY_MS = 5_000;
const PLOTS = [
  { name: 'rssBytes', title: 'Memory', unit: bytes, least: 30e6 },
  { name: 'cpuPercent', title: 'Processor', unit: (value) => `${Math.round(value)} %`, least: 20 },
  { name: 'loopLagMs', title: 'Event loop lag', unit: millis, least: 3 },
  { name: 'deliverMs', title: 'Delivery of events', unit: millis, least: 3 },
  { name: 'firstTokenMs', title: 'Time to the first token', unit: millis, least: 300 },
];
const MOODS = { ready: 'good', busy: 'good', backoff: 'warn', failed: 'bad' };

/**
 * Fills `root` with the page and keeps it up to date.
 * @param {HTMLElement} root
 * @param {{request: (method: string, params?: object) => Promise<any>, on: (event: string, run: Function) => Function}} api
 * @returns {{close: () => void}}
 */
export function mountStatePage(root, api) {
  const note = el('p', { class: 'state-note', role: 'status' });
  const parts = { tiles: el('dl', { class: 'tiles' }), plots: el('div', { class: 'plots' }), agents: el('div', {}), runs: el('div', {}), here: el('div', {}) };
  const logs = logsPanel(api);
  const devices = devicesPanel(api);
  const config = configPanel(api);
  styled();
  root.classList.add('state-page');
  root.replaceChildren(
    el('h2', { class: 'visually-hidden', text: 'State of the gateway' }), note, parts.tiles,
    panel('Measured', parts.plots), panel('Agents', parts.agents), panel('Runs', parts.runs), panel('Connections', parts.here),
    devices.element, logs.element, config.element);
  let timer = 0;
  let closed = false;

  async function look() {
    clearTimeout(timer);
    try {
      const [state, ready] = await Promise.all([api.request('_ars.state', {}), isReady()]);
      if (closed) return;
      note.textContent = '';
      show({ ...state, ready });
    } catch (error) {
      if (closed) return;
      note.textContent = `Not up to date: ${reveal(error?.message ?? error)}`;
    }
    timer = setTimeout(look, EVERY_MS);
  }

  function show(state) {
    fill(parts.tiles, tiles(state));
    fill(parts.plots, PLOTS.filter(({ name }) => Array.isArray(state.series?.[name])).map((one) =>
      plot({ ...one, values: state.series[one.name], seconds: state.series.seconds })));
    fill(parts.agents, agentTable(state.agents ?? []));
    fill(parts.runs, runTable(state, abort));
    fill(parts.here, hereTable(state.connections?.list ?? []));
  }

  async function abort(run, button) {
    button.disabled = true;
    try {
      await api.request('chat.abort', { sessionKey: run.sessionKey, runId: run.runId });
    } catch (error) {
      note.textContent = `It could not be ended: ${reveal(error?.message ?? error)}`;
    }
    look();
  }

  look();
  const offs = [api.on('health', look), api.on('presence', look)];
  return {
    close() {
      closed = true;
      clearTimeout(timer);
      for (const off of [...offs, logs.close, devices.close]) off?.();
      root.classList.remove('state-page');
    },
  };
}

/** Whether the gateway takes prompts: its own answer to whoever has to know that. */
async function isReady() {
  try {
    return (await fetch('/readyz', { cache: 'no-store' })).ok;
  } catch {
    return false;
  }
}

/** The page's own styles, once. */
function styled() {
  const href = new URL('./state.css', import.meta.url).pathname;
  if (document.querySelector(`link[href="${href}"]`)) return;
  const link = document.createElement('link');
  link.rel = 'stylesheet';
  link.setAttribute('href', href);
  document.head.append(link);
}

/** Replaces what stands in `element`, unless somebody is about to press a button in it. */
function fill(element, content) {
  const at = [...element.querySelectorAll('button')].indexOf(document.activeElement);
  element.replaceChildren(...[content].flat());
  if (at >= 0) element.querySelectorAll('button')[at]?.focus({ preventScroll: true });
}

function tiles(state) {
  const { model } = state;
  const working = (state.agents ?? []).filter((agent) => ['ready', 'busy'].includes(agent.state)).length;
  const found = [
    ['Version', reveal(state.version ?? '\u2013')],
    ['Up for', span(state.uptimeMs ?? 0)],
    ['Takes prompts', el('span', { class: `badge ${state.ready ? 'good' : 'bad'}`, text: state.ready ? 'yes' : 'no' })],
    ['Memory', state.memory ? bytes(state.memory.rssBytes) : '\u2013'],
    ['Agents at work', `${working} of ${(state.agents ?? []).length}`],
    ['Runs', String((state.runs ?? []).length)],
    ['Sessions', String(state.sessions?.count ?? '\u2013')],
    ['Connections', String(state.connections?.count ?? '\u2013')],
    ['Waiting for a person', String((state.questions ?? 0) + (state.forms ?? 0))],
  ];
  const rows = found.map(([name, value]) => tile(name, value));
  if (state.fds) rows.push(tile('Open files', String(state.fds)));
  if (model) rows.push(tile('Model endpoint', el('span', { class: `badge ${model.ok ? 'good' : 'bad'}`, title: reveal(model.why ?? ''), text: model.ok ? 'reachable' : 'not reachable' })));
  return rows;
}

const tile = (name, value) => el('div', { class: 'tile' }, el('dt', { text: name }), el('dd', {}, value));

function agentTable(agents) {
  return table(['Agent', 'State', 'Restarts', 'Memory', 'Process'], agents.map((agent) => [
    [el('span', { text: reveal(agent.name ?? agent.id) }), agent.name && agent.name !== agent.id && el('span', { class: 'dim', text: ` ${reveal(agent.id)}` })],
    [el('span', { class: `badge ${MOODS[agent.state] ?? ''}`, text: reveal(agent.state ?? '') }), agent.why && el('span', { class: 'dim why', text: ` ${reveal(agent.why)}` })],
    String(agent.restarts ?? 0),
    agent.rssBytes ? bytes(agent.rssBytes) : '\u2013',
    agent.pid ? String(agent.pid) : '\u2013',
  ]), 'There are no agents.');
}

function runTable(state, abort) {
  return table(['Session', 'Agent', 'For', ''], (state.runs ?? []).map((run) => {
    const stop = el('button', { type: 'button', class: 'button small', aria: { label: `End the run of ${reveal(run.sessionKey)}` }, on: { click: () => abort(run, stop) } }, 'End');
    const since = run.startedAtMs ?? run.acceptedAtMs;
    return [
      el('span', { class: 'mono', text: reveal(run.sessionKey) }), reveal(run.agentId ?? ''),
      run.waiting ? el('span', { class: 'badge', text: 'waits' }) : span((state.ts ?? Date.now()) - since), stop,
    ];
  }), 'Nothing runs.');
}

function hereTable(list) {
  return table(['Client', 'Kind', ''], list.map((one) => [
    reveal(one.displayName ?? one.client ?? ''), el('span', { class: 'dim', text: reveal([one.client, one.mode].filter(Boolean).join(' \u00b7 ')) }),
    one.you ? el('span', { class: 'badge good', text: 'this page' }) : '',
  ]), 'Nobody is connected.');
}
