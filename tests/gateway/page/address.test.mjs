import assert from 'node:assert/strict';
import { test } from 'node:test';

import { addressOf } from '../../../ars_gateway/web/address.js';

const parts = (text) => {
  const { before, host, after, doubts } = addressOf(text);
  return [before, host, after, doubts.length];
};

test('only addresses of the web are any', () => {
  for (const text of ['javascript:alert(1)', 'data:text/html,x', 'file:///etc/passwd', 'ftp://a/', 'mailto:a@b', '/path', '', 'https://']) {
    assert.equal(addressOf(text), null, text);
  }
});

test('the host stands apart, and the parts are the whole address', () => {
  assert.deepEqual(parts('https://login.example.org/a?b=c#d'), ['https://', 'login.example.org', '/a?b=c#d', 0]);
  for (const text of ['https://a.example:8443/a.example', 'http://localhost:1/x', 'https://https.example/', 'http://[::1]:80/']) {
    const { href, before, host, after, doubts } = addressOf(text);
    assert.deepEqual([before + host + after, doubts], [href, []], text);
  }
});

test('a name before the host is not the host, and is spoken of', () => {
  assert.deepEqual(parts('https://bank.example@evil.example/bank.example'), ['https://bank.example@', 'evil.example', '/bank.example', 1]);
  assert.deepEqual(parts('https://evil.example:x@evil.example/'), ['https://evil.example:x@', 'evil.example', '/', 1]);
});

test('letters that look like others, and a way that is not encrypted, are spoken of', () => {
  assert.deepEqual(parts('https://ex\u0430mple.org/'), ['https://', 'xn--exmple-4nf.org', '/', 1]);
  assert.equal(parts('http://example.org/')[3], 1);
});
