/**
 * A session's entries folded into what the page shows, pure: turns, and in each turn its items in order. Items are
 * plain objects that grow in place; `rev` grows with them. `take` returns which items changed.
 *
 * item: {id, type, rev, run, …}: prompt {text, attachments, by} · text, thought {pieces, done} · steer, injected {text}
 * · tool {call, asks, over, hand} · question, form {payload, answer} · notice {severity, title, description} · end
 * {state, stopReason, error}
 */

const REPLACED = new Set(['content', 'locations']);
const MOST_TERMINAL = 512 * 1024;
const MOST_TERMINALS = 400;

/** One session as it is shown. */
export class Chat {
  constructor(key) {
    this.key = key;
    this.turns = [];
    this.terminals = new Map(); // terminalId → {id, chunks, size, dropped, rev}
    this.usage = null;
    this.commands = null;
    this.mode = null;
    this.options = null;
    this.feed = null;
    this.last = 0;
    this.older = null;
    this.optionsRev = 0;
    this.changed = new Set(); // items since somebody looked
    this.#runs = new Map();
  }

  #runs;
  #tools = new Map();
  #asks = new Map();
  #shownBy = new Map(); // terminalId → tool item
  #count = 0;

  /** Whether something goes on in it. */
  get running() {
    return this.turns.some((turn) => turn.end === null);
  }

  /** The turns that have not ended: the first is being worked on, the others wait. */
  get open() {
    return this.turns.filter((turn) => turn.end === null);
  }

  /** The plan of the turn that goes on, or of the last one. */
  get plan() {
    return (this.open[0] ?? this.turns.at(-1))?.plan ?? [];
  }

  /** Questions and forms that wait for an answer. */
  get waiting() {
    return [...this.#asks.values()].filter((ask) => ask.answer === null && !ask.lapsed);
  }

  /** Takes entries in order; those with a number that was taken already are passed over. */
  take(entries) {
    for (const entry of entries) {
      if (entry.n !== undefined) {
        if (entry.n <= this.last) continue;
        this.last = entry.n;
      }
      this.#entry(entry);
    }
  }

  /** Puts what came before in front. */
  prepend(entries) {
    const before = new Chat(this.key);
    before.#count = -1e9 + this.turns.length;
    before.take(entries);
    for (const turn of before.turns) if (turn.end === null) before.#end(turn, { state: 'unknown' }, undefined);
    const first = this.turns[0];
    const same = before.turns.at(-1);
    if (first !== undefined && same !== undefined && first.run === same.run) {
      // A turn that was cut in two: its end, if it has one, is in the later part.
      first.items.unshift(...same.items.filter((item) => item.type !== 'end'));
      before.turns.pop();
    }
    this.turns.unshift(...before.turns);
    for (const turn of before.turns) this.#runs.set(turn.run, turn);
    for (const [id, terminal] of before.terminals) if (!this.terminals.has(id)) this.terminals.set(id, terminal);
    for (const [id, item] of before.#tools) if (!this.#tools.has(id)) this.#tools.set(id, item);
    return before.turns;
  }

  /** What is known of runs that go on: a run that is not among them has ended, whatever the entries lack. */
  settle(live) {
    const ids = new Set(live.map((run) => run.runId));
    for (const turn of this.turns) if (turn.end === null && !ids.has(turn.run)) this.#end(turn, { state: 'unknown' });
  }

  /** The items that changed since the last call. */
  takeChanged() {
    const found = this.changed;
    this.changed = new Set();
    return found;
  }

  // ── inside ──

  #entry({ run = null, kind, data, at }) {
    const turn = this.#turn(run, at);
    switch (kind) {
      case 'prompt': return this.#prompt(turn, data, at);
      case 'text':
      case 'thought': return this.#said(turn, kind, data);
      case 'update': return this.#update(turn, data);
      case 'terminal': return this.#terminal(data);
      case 'question':
      case 'form': return this.#ask(turn, kind, data);
      case 'answered':
      case 'filled': return this.#answered(data);
      case 'call': return this.#hand(turn, data);
      case 'called': return this.#handed(data);
      case 'steer': return this.#add(turn, { type: 'steer', text: data.text ?? '', by: data.by });
      case 'injected': return this.#add(turn, { type: 'injected', text: data.text ?? '' });
      case 'end': return this.#end(turn, data, at);
      default: return undefined; // of a later gateway
    }
  }

  #turn(run, at) {
    const known = this.#runs.get(run);
    if (known !== undefined && run !== null) return known;
    const last = this.turns.at(-1);
    if (run === null && last !== undefined) return last;
    const turn = { run, items: [], end: null, at, id: `t${this.#count++}` };
    if (run === null) turn.end = { state: 'ok' };
    this.turns.push(turn);
    this.#runs.set(run, turn);
    return turn;
  }

  #add(turn, item) {
    this.#close(turn);
    const made = { id: `i${this.#count++}`, rev: 0, run: turn.run, ...item };
    turn.items.push(made);
    this.changed.add(made);
    return made;
  }

  #touch(item) {
    item.rev += 1;
    this.changed.add(item);
  }

  /** What was being said is said. */
  #close(turn) {
    const last = turn.items.at(-1);
    if (last !== undefined && last.done === false) {
      last.done = true;
      this.#touch(last);
    }
  }

  #prompt(turn, data, at) {
    if (turn.items.some((item) => item.type === 'prompt')) return;
    const attachments = data.blocks ?? [];
    this.#add(turn, { type: 'prompt', text: data.text ?? '', attachments, by: data.by, at });
  }

  #said(turn, type, piece) {
    const last = turn.items.at(-1);
    if (last !== undefined && last.type === type && !last.done) {
      last.pieces.push(piece);
      this.#touch(last);
    } else {
      this.#add(turn, { type, pieces: [piece], done: false });
    }
  }

  #update(turn, update) {
    switch (update.sessionUpdate) {
      case 'tool_call':
      case 'tool_call_update': return this.#called(turn, update);
      case 'plan':
        this.#close(turn);
        turn.plan = update.entries ?? [];
        return undefined;
      case 'usage_update':
        this.usage = { used: update.used, size: update.size, cost: update.cost };
        return undefined;
      case 'available_commands_update':
        this.commands = update.availableCommands ?? [];
        return undefined;
      case 'current_mode_update':
      case 'config_option_update':
        this.optionsRev += 1;
        return undefined;
      case 'notice':
        return this.#add(turn, { type: 'notice', severity: update.severity, title: update.title, description: update.description });
      case 'compaction_update':
        return this.#add(turn, { type: 'notice', severity: 'info', title: 'The conversation was made shorter' });
      case 'user_message_chunk':
        return this.#close(turn);
      default: return undefined;
    }
  }

  #called(turn, update) {
    const id = update.toolCallId ?? '';
    let item = this.#tools.get(id);
    if (item === undefined) {
      const call = { toolCallId: id, title: '', kind: 'other', status: 'pending', content: [], locations: [] };
      item = this.#add(turn, { type: 'tool', call, asks: [], over: false, hand: null });
      this.#tools.set(id, item);
      for (const ask of this.#asks.values()) if (!ask.within && toolOf(ask) === id) this.#adopt(item, ask);
    }
    merge(item.call, update);
    for (const part of item.call.content) if (part?.type === 'terminal') this.#shownBy.set(part.terminalId, item);
    this.#touch(item);
  }

  #terminal({ terminalId, data, cut = false }) {
    const known = this.terminals.get(terminalId);
    const terminal = known ?? { id: terminalId, chunks: [], size: 0, dropped: cut, rev: 0 };
    if (known === undefined) {
      this.terminals.set(terminalId, terminal);
      if (this.terminals.size > MOST_TERMINALS) this.terminals.delete(this.terminals.keys().next().value);
    }
    terminal.chunks.push(data);
    terminal.size += data.length;
    while (terminal.size > MOST_TERMINAL && terminal.chunks.length > 1) {
      terminal.size -= terminal.chunks.shift().length;
      terminal.dropped = true;
    }
    terminal.rev += 1;
    const item = this.#shownBy.get(terminalId);
    if (item !== undefined) this.#touch(item);
  }

  #ask(turn, type, payload) {
    if (this.#asks.has(payload.id)) return;
    const tool = this.#tools.get(toolOf({ type, payload }));
    const ask = { id: `i${this.#count++}`, rev: 0, run: turn.run, type, payload, answer: null, within: false };
    this.#asks.set(payload.id, ask);
    if (tool !== undefined) {
      this.#adopt(tool, ask);
      return;
    }
    this.#close(turn);
    turn.items.push(ask);
    this.changed.add(ask);
  }

  /** A question about a tool call is shown in its card. */
  #adopt(tool, ask) {
    ask.within = true;
    const turn = this.#runs.get(ask.run);
    const place = turn?.items.indexOf(ask) ?? -1;
    if (place >= 0) turn.items.splice(place, 1);
    tool.asks.push(ask);
    ask.tool = tool;
    this.#touch(tool);
  }

  #answered(payload) {
    const ask = this.#asks.get(payload.id);
    if (ask === undefined || ask.answer !== null) return;
    ask.answer = payload;
    this.#touch(ask);
    if (ask.tool !== undefined) this.#touch(ask.tool);
  }

  #hand(turn, data) {
    const known = this.#tools.get(data.call_id);
    const hand = { callId: data.call_id, tool: data.tool, arguments: data.arguments, done: false };
    if (known === undefined) this.#called(turn, { toolCallId: data.call_id, title: data.tool, rawInput: data.arguments });
    const item = known ?? this.#tools.get(data.call_id);
    item.hand = hand;
    this.#touch(item);
  }

  #handed({ call_id: id }) {
    const item = this.#tools.get(id);
    if (item?.hand) {
      item.hand.done = true;
      this.#touch(item);
    }
  }

  #end(turn, data, at) {
    if (turn.end !== null) return;
    this.#close(turn);
    turn.end = { ...data, at };
    for (const item of turn.items) {
      if (item.type === 'tool') this.#over(item);
      else if ((item.type === 'question' || item.type === 'form') && item.answer === null) this.#lapse(item);
    }
    const quiet = data.state === 'unknown' || (data.state === 'ok' && !data.stopReason);
    if (!quiet) this.#add(turn, { type: 'end', ...data });
  }

  #over(item) {
    item.over = true;
    for (const ask of item.asks) if (ask.answer === null) this.#lapse(ask);
    if (item.call.status === 'pending' || item.call.status === 'in_progress') this.#touch(item);
  }

  #lapse(ask) {
    ask.lapsed = true;
    this.#touch(ask);
  }
}

function toolOf(ask) {
  const { payload } = ask;
  return (ask.type === 'form' ? payload.toolCallId : payload.request?._ars?.toolCallId) ?? null;
}

/** A tool call with what an update says of it. */
function merge(call, update) {
  for (const [name, value] of Object.entries(update)) {
    if (name === 'sessionUpdate' || value === undefined) continue;
    if (value === null && REPLACED.has(name)) continue;
    if (value === null && call[name] !== undefined) continue;
    call[name] = value;
  }
}
