import assert from 'node:assert/strict';
import { test } from 'node:test';

import { parse } from '../../../ars_gateway/web/blocks.js';
import { busy } from './busy.mjs';

/** Blocks in short, as nested lists. */
function short(text) {
  const one = (block) => {
    switch (block.type) {
      case 'paragraph': return block.text;
      case 'heading': return [`h${block.level}`, block.text];
      case 'code': return [`code ${block.lang}${block.closed ? '' : ' open'}`, block.lines.join('\n')];
      case 'quote': return ['quote', ...block.blocks.map(one)];
      case 'rule': return ['rule'];
      case 'table': return ['table', block.aligns, block.head, ...block.rows];
      default: {
        const mark = block.ordered ? `ol ${block.first}` : 'ul';
        const items = block.items.map((it) => [...(it.isTask ? [it.task ? 'x' : '_'] : []), ...it.blocks.map(one)]);
        return [mark + (block.tight ? '' : ' loose'), ...items];
      }
    }
  };
  return parse(text.split('\n')).map(one);
}

const CASES = {
  'paragraphs': ['a\nb\n\nc', ['a\nb', 'c']],
  'headings': ['# A\n## B ##\ntext\n### C', [['h1', 'A'], ['h2', 'B'], 'text', ['h3', 'C']]],
  'underlined headings': ['A\n===\nB\n---', [['h1', 'A'], ['h2', 'B']]],
  'rules': ['---\n***\na\n\n___', [['rule'], ['rule'], 'a', ['rule']]],
  'fences': ['a\n```py x\n  b\n\nc\n```\nd', ['a', ['code py', '  b\n\nc'], 'd']],
  'a fence within a longer one': ['````md\n```\nx\n```\n````', [['code md', '```\nx\n```']]],
  'a fence that is open': ['```\na', [['code  open', 'a']]],
  'an indented fence': ['  ```\n  a\n    b\n  ```', [['code ', 'a\n  b']]],
  'indented code': ['a\n\n    b\n\n    c\n\nd', ['a', ['code ', 'b\n\nc'], 'd']],
  'quotes, with lazy lines': ['> a\n> - b\nc\n\nd', [['quote', 'a', ['ul', ['b\nc']]], 'd']],
  'lists': ['- a\n- b\n\n* c', [['ul', ['a'], ['b']], ['ul', ['c']]]],
  'numbers': ['3. a\n4. b', [['ol 3', ['a'], ['b']]]],
  'nested': ['- a\n  - b\n    - c\n- d', [['ul', ['a', ['ul', ['b', ['ul', ['c']]]]], ['d']]]],
  'nested under a number by too little': ['1. a\n  - b\n2. c', [['ol 1', ['a', ['ul', ['b']]], ['c']]]],
  'loose': ['- a\n\n- b', [['ul loose', ['a'], ['b']]]],
  'two paragraphs in an item': ['- a\n\n  b\n- c', [['ul loose', ['a', 'b'], ['c']]]],
  'code in an item': ['1. a\n   ```sh\n   x\n\n   y\n   ```\n2. b', [['ol 1', ['a', ['code sh', 'x\n\ny']], ['b']]]],
  'tasks': ['- [ ] a\n- [x] b', [['ul', ['_', 'a'], ['x', 'b']]]],
  'a list ends a paragraph, a number other than 1 does not': ['a\n- b\n\nin\n1984. was', ['a', ['ul', ['b']], 'in\n1984. was']],
  'tables': ['|a|b|\n|:-|-:|\n|1|`x\\|y`|\n|2|\n\nz', [['table', ['left', 'right'], ['a', 'b'], ['1', '`x|y`'], ['2', '']], 'z']],
  'a pipe alone is no table': ['a | b\nc', ['a | b\nc']],
  'html is a paragraph': ['<div onclick="x">\n<b>', ['<div onclick="x">\n<b>']],
};

for (const [name, [given, wanted]] of Object.entries(CASES)) {
  test(name, () => assert.deepEqual(short(given), wanted));
}

test('depth is bounded, and no text costs a square', () => {
  const hostile = ['> '.repeat(5000), '- '.repeat(5000), '- a\n'.repeat(20_000), '> a\n'.repeat(20_000)];
  hostile.push('a\n'.repeat(20_000), '|a\n|-\n'.repeat(10_000), '```\n'.repeat(20_001), '1. a\n\n'.repeat(10_000));
  hostile.push(Array.from({ length: 500 }, (_, deep) => `${' '.repeat(2 * deep)}- a`).join('\n'), ' '.repeat(100_000));
  for (const text of hostile) {
    const took = busy(() => parse(text.split('\n')));
    assert.ok(took < 2000, `${text.slice(0, 12)} took ${took} ms`);
  }
});
