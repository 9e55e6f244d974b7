import assert from 'node:assert/strict';
import { test } from 'node:test';

import { inlines } from '../../../ars_gateway/web/inline.js';
import { busy } from './busy.mjs';

/** Nodes in short: strings as they are, em as /…/, strong as *…*, code as `…`, del as ~…~, links as [text](href). */
function short(text) {
  const one = (node) => {
    if (typeof node === 'string') return node;
    const inner = (node.children ?? []).map(one).join('');
    switch (node.type) {
      case 'em': return `/${inner}/`;
      case 'strong': return `*${inner}*`;
      case 'del': return `~${inner}~`;
      case 'code': return `\`${node.text}\``;
      case 'break': return '⏎';
      default: return `[${inner}](${node.href})`;
    }
  };
  return inlines(text).map(one).join('');
}

const CASES = {
  'plain text stays': ['a b c', 'a b c'],
  'emphasis': ['a *b* **c** _d_ __e__ ***f***', 'a /b/ *c* /d/ *e* /*f*/'],
  'strong around emphasis': ['**a *b* c**', '*a /b/ c*'],
  'snake_case and 2*3*4 are no emphasis but the stars': ['snake_case_name 2 * 3', 'snake_case_name 2 * 3'],
  'marks without a partner stay': ['**half and *one', '**half and *one'],
  'struck': ['~~gone~~ ~5', '~gone~ ~5'],
  'code keeps marks': ['`a*b*` and ``x`y``', '`a*b*` and `x`y`'],
  'code without an end': ['`open', '`open'],
  'backslashes': ['\\*no\\* \\d', '*no* \\d'],
  'a line end is a break': ['a  \nb\nc\\\nd', 'a⏎b⏎c⏎d'],
  'links': ['[a *b*](http://x.org/p?q=1 "t") end', '[a /b/](http://x.org/p?q=1) end'],
  'links with brackets in the address': ['[w](http://x.org/a_(b))', '[w](http://x.org/a_(b))'],
  'bare addresses without the sentence': ['see https://x.org/a, (https://y.org/b).', 'see [https://x.org/a](https://x.org/a), ([https://y.org/b](https://y.org/b)).'],
  'angle addresses': ['<https://x.org> <b>', '[https://x.org](https://x.org/) <b>'],
  'a script is its text': ['<script>alert(1)</script>', '<script>alert(1)</script>'],
  'javascript: is no link, and is shown': ['[click](javascript:alert(1))', 'click (javascript:alert(1))'],
  'data: and vbscript: and odd spellings are no links': ['[a](data:text/html,x) [b](JaVaScRiPt:x) [c](vbscript:x)', 'a (data:text/html,x) b (JaVaScRiPt:x) c (vbscript:x)'],
  'an address of this page is no link': ['[a](/admin) [b](#x)', 'a (/admin) b (#x)'],
  'a link in a link is its text': ['[a [b](http://b.org) c](http://a.org)', '[a b c](http://a.org/)'],
  'images are links': ['![cat](http://x.org/c.png)', '[cat](http://x.org/c.png)'],
  'entities': ['&lt;b&gt; &amp; &#65; &#x202e;', '<b> & A \\u202e'],
  'brackets alone': ['a[0] = [x]', 'a[0] = [x]'],
};

for (const [name, [given, wanted]] of Object.entries(CASES)) {
  test(name, () => assert.equal(short(given), wanted));
}

test('no text costs a square', () => {
  const hostile = ['*a ', '_a', '[', '![', '](', '`', '`a``', '~~', '<', '&', '\\', '**_', '[a](', 'https://(', '*[_'];
  for (const piece of hostile) {
    const took = busy(() => inlines(piece.repeat(20_000)));
    assert.ok(took < 2000, `${piece} took ${took} ms`);
  }
});
