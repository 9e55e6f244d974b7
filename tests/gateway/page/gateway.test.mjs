import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';

import { GatewayClient, delay } from '../../../ars_gateway/web/gateway.js';

/** A socket whose other end is the test. */
class Wire {
  static all = [];
  sent = [];
  closed = false;

  constructor(url) {
    this.url = url;
    Wire.all.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  say(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  end(code = 1006, reason = '') {
    this.onclose?.({ code, reason });
  }
}

const settled = async () => {
  for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
};

function client(options = {}) {
  const made = new GatewayClient({ url: 'ws://x', introduce: async (nonce) => ({ nonce }), Socket: Wire, random: () => 1, ...options });
  const phases = [];
  made.on('phase', (phase) => phases.push(phase.name));
  return { made, phases };
}

async function welcome(wire, connId = 'c1') {
  wire.say({ type: 'event', event: 'connect.challenge', payload: { nonce: 'n' } });
  await settled();
  const hello = { server: { connId }, policy: { tickIntervalMs: 1000 } };
  wire.say({ type: 'res', id: wire.sent.at(-1).id, ok: true, payload: hello });
  await settled();
}

beforeEach(() => {
  Wire.all = [];
  mock.timers.reset();
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
});

test('it introduces itself with the nonce, and is open after hello', async () => {
  const { made, phases } = client();
  made.start();
  await welcome(Wire.all[0]);
  assert.deepEqual(Wire.all[0].sent[0], { type: 'req', id: '1', method: 'connect', params: { nonce: 'n' } });
  assert.deepEqual(phases, ['connecting', 'open']);
});

test('an answer resolves, an error rejects with its code', async () => {
  const { made } = client();
  made.start();
  await welcome(Wire.all[0]);
  const yes = made.request('a', { x: 1 });
  const no = made.request('b');
  Wire.all[0].say({ type: 'res', id: '3', ok: false, error: { code: 'INVALID_REQUEST', message: 'no', details: { d: 1 } } });
  Wire.all[0].say({ type: 'res', id: '2', ok: true, payload: 7 });
  assert.equal(await yes, 7);
  await assert.rejects(no, { code: 'INVALID_REQUEST', message: 'no', details: { d: 1 } });
});

test('a request without an answer is rejected in time, one in flight when the connection ends at once', async () => {
  const { made } = client();
  made.start();
  await welcome(Wire.all[0]);
  const late = assert.rejects(made.request('a', {}, { seconds: 1 }), { code: 'TIMEOUT', retryable: true });
  mock.timers.tick(1000);
  await late;
  const cut = assert.rejects(made.request('b'), { code: 'CLOSED', retryable: true });
  Wire.all[0].end();
  await cut;
  await assert.rejects(made.request('c'), { code: 'CLOSED' });
});

test('it comes back at once, then ever later, and says what it has seen', async () => {
  const { made, phases } = client();
  made.start();
  await welcome(Wire.all[0]);
  Wire.all[0].say({ type: 'event', event: 'chat', payload: {}, seq: 1 });
  Wire.all[0].say({ type: 'event', event: 'chat', payload: {}, seq: 2 });
  Wire.all[0].end();
  mock.timers.tick(0);
  assert.equal(Wire.all.length, 2);
  for (const [attempt, wait] of [500, 1000, 2000, 4000, 8000, 10_000, 10_000].entries()) {
    Wire.all.at(-1).end();
    mock.timers.tick(wait - 1);
    assert.equal(Wire.all.length, attempt + 2);
    mock.timers.tick(1);
    assert.equal(Wire.all.length, attempt + 3);
  }
  await welcome(Wire.all.at(-1), 'c2');
  assert.deepEqual(Wire.all.at(-1).sent[0].params, { nonce: 'n', resume: { connId: 'c1', lastSeq: 2 } });
  assert.equal(phases.at(-1), 'open');
});

test('half of the wait is by chance', () => {
  assert.deepEqual([delay(0), delay(1, () => 0), delay(1, () => 1), delay(99, () => 0)], [0, 250, 500, 5000]);
});

test('a gateway that restarts is given the time that it has said', async () => {
  const { made } = client();
  made.start();
  await welcome(Wire.all[0]);
  Wire.all[0].say({ type: 'event', event: 'shutdown', payload: { restartExpectedMs: 1500 }, seq: 1 });
  Wire.all[0].end(1012);
  mock.timers.tick(1499);
  assert.equal(Wire.all.length, 1);
  mock.timers.tick(1);
  assert.equal(Wire.all.length, 2);
});

test('a socket that is silent for too long is given up', async () => {
  const { made, phases } = client();
  made.start();
  await welcome(Wire.all[0]);
  mock.timers.tick(2000);
  Wire.all[0].say({ type: 'event', event: 'tick', payload: {}, seq: 1 });
  mock.timers.tick(2499);
  assert.equal(made.phase.name, 'open');
  mock.timers.tick(1);
  assert.deepEqual(phases, ['connecting', 'open', 'waiting', 'connecting']);
  assert.ok(Wire.all[0].closed);
});

test('a gateway that never answers is tried anew', () => {
  const { made } = client();
  made.start();
  mock.timers.tick(12_000);
  assert.equal(made.phase.name, 'waiting');
});

test('a refusal is the end of it until somebody starts anew', async () => {
  const { made } = client();
  made.start();
  Wire.all[0].say({ type: 'event', event: 'connect.challenge', payload: { nonce: 'n' } });
  await settled();
  Wire.all[0].say({ type: 'res', id: '1', ok: false, error: { code: 'INVALID_REQUEST', message: 'unauthorized', retryAfterMs: 9 } });
  await settled();
  assert.equal(made.phase.name, 'refused');
  assert.equal(made.phase.error.retryAfterMs, 9);
  mock.timers.tick(60_000);
  assert.equal(Wire.all.length, 1);
  made.start();
  assert.equal(Wire.all.length, 2);
});

test('a hole in the numbers is told', async () => {
  const { made } = client();
  const gaps = [];
  made.on('gap', (gap) => gaps.push(gap.seq));
  made.start();
  await welcome(Wire.all[0]);
  for (const seq of [1, 2, 5, 6]) Wire.all[0].say({ type: 'event', event: 'x', payload: {}, seq });
  assert.deepEqual(gaps, [5]);
});

test('a page that is looked at again tries at once, and finds out whether its connection still lives', async () => {
  const { made } = client();
  made.start();
  Wire.all[0].end();
  assert.equal(Wire.all.length, 1);
  made.wake();
  assert.equal(Wire.all.length, 2);
  await welcome(Wire.all[1]);
  const woken = made.wake();
  assert.equal(Wire.all[1].sent.at(-1).method, 'health');
  mock.timers.tick(2400);
  Wire.all[1].say({ type: 'event', event: 'tick', payload: {} });
  mock.timers.tick(2400);
  Wire.all[1].say({ type: 'event', event: 'tick', payload: {} });
  mock.timers.tick(2400);
  await woken;
  assert.ok(Wire.all[1].closed);
});

test('what an old socket still says is not heard', async () => {
  const { made } = client();
  made.start();
  await welcome(Wire.all[0]);
  const old = Wire.all[0].onclose;
  made.stop();
  old({ code: 1006 });
  assert.equal(made.phase.name, 'idle');
  mock.timers.tick(60_000);
  assert.equal(Wire.all.length, 1);
});
