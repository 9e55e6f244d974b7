/** What a command writes to its terminal, as lines of styled text. Pure: characters in, lines out. */

const MOST_LINES = 10_000;
const MOST_COLUMNS = 8_000;
const MOST_PENDING = 4_096;
// Sequences that are whole: CSI; OSC, DCS, SOS, PM and APC up to their end; two-character escapes; then what moves.
// eslint-disable-next-line no-control-regex
const TOKEN = /\x1b\[([0-?]*)[ -/]*([@-~])|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-OQ-WYZ\\`-~]|[\n\r\b\x00\x07]/g;

/**
 * @typedef {{text: string, style: string}} Run   text of one style; a style is a list of class names
 * @typedef {{runs: Run[], length: number}} Line
 */

/** A terminal that only ever grows downwards: lines end, and the last one may be written over. */
export class AnsiText {
  constructor() {
    /** @type {Line[]} */
    this.lines = [{ runs: [], length: 0 }];
    this.dropped = 0;
    this._column = 0;
    this._pending = '';
    this._pen = {};
    this._style = '';
  }

  /**
   * Takes more output, cut anywhere.
   * @param {string} text
   * @returns {number} the first line that is another one now, counted from the first ever
   */
  feed(text) {
    const first = this.dropped + this.lines.length - 1;
    const whole = (this._pending + text).replaceAll('\x9b', '\x1b[');
    this._pending = '';
    let at = 0;
    for (const found of whole.matchAll(TOKEN)) {
      this._put(whole.slice(at, found.index));
      at = found.index + found[0].length;
      this._obey(found);
    }
    let rest = whole.slice(at);
    const open = rest.indexOf('\x1b');
    if (open >= 0 && rest.length - open < MOST_PENDING) {
      this._pending = rest.slice(open);
      rest = rest.slice(0, open);
    }
    this._put(rest);
    if (this.lines.length > MOST_LINES) {
      this.dropped += this.lines.splice(0, this.lines.length - MOST_LINES).length;
    }
    return first;
  }

  /** The text alone. */
  plain() {
    return this.lines.map((line) => line.runs.map((run) => run.text).join('')).join('\n');
  }

  _obey(found) {
    const line = this.lines.at(-1);
    if (found[0] === '\n') {
      this.lines.push({ runs: [], length: 0 });
      this._column = 0;
    } else if (found[0] === '\r') {
      this._column = 0;
    } else if (found[0] === '\b') {
      this._column = Math.max(0, this._column - 1);
    } else if (found[2] === 'm') {
      this._pen = penAfter(this._pen, found[1]);
      this._style = styleOf(this._pen);
    } else if (found[2] === 'K') {
      erase(line, Number(found[1]) || 0, this._column);
    } else if (found[2] === 'G') {
      this._column = Math.min(line.length, Math.max(1, Number(found[1]) || 1) - 1);
    } else if (found[2] === 'C') {
      this._column = Math.min(line.length, this._column + (Number(found[1]) || 1));
    } else if (found[2] === 'D') {
      this._column = Math.max(0, this._column - (Number(found[1]) || 1));
    }
  }

  _put(text) {
    let rest = text.replaceAll('\x1b', '');
    while (rest) {
      const line = this.lines.at(-1);
      const piece = rest.slice(0, MOST_COLUMNS - this._column);
      write(line, this._column, piece, this._style);
      this._column += piece.length;
      rest = rest.slice(piece.length);
      if (this._column >= MOST_COLUMNS) {
        this.lines.push({ runs: [], length: 0 });
        this._column = 0;
      }
    }
  }
}

function write(line, column, text, style) {
  const last = line.runs.at(-1);
  if (column === line.length) {
    if (last?.style === style) last.text += text;
    else line.runs.push({ text, style });
  } else {
    line.runs = [...cut(line.runs, 0, column), { text, style }, ...cut(line.runs, column + text.length, Infinity)];
  }
  line.length = Math.max(line.length, column + text.length);
}

function erase(line, how, column) {
  if (how === 0) {
    line.runs = cut(line.runs, 0, column);
    line.length = Math.min(line.length, column);
  } else if (how === 2) {
    line.runs = column ? [{ text: ' '.repeat(column), style: '' }] : [];
    line.length = column;
  } else if (how === 1) {
    line.runs = [{ text: ' '.repeat(column), style: '' }, ...cut(line.runs, column, Infinity)];
    line.length = Math.max(line.length, column);
  }
}

/** The runs between two columns. */
function cut(runs, from, to) {
  const found = [];
  let at = 0;
  for (const run of runs) {
    const text = run.text.slice(Math.max(0, from - at), Math.max(0, to - at));
    if (text && at < to) found.push({ text, style: run.style });
    at += run.text.length;
  }
  return found;
}

const OFF = { 22: ['bold', 'dim'], 23: ['italic'], 24: ['underline'], 27: ['inverse'], 29: ['strike'], 39: ['fg'], 49: ['bg'] };
const ON = { 1: 'bold', 2: 'dim', 3: 'italic', 4: 'underline', 7: 'inverse', 9: 'strike' };

/** The pen after an SGR sequence with these parameters. */
function penAfter(pen, parameters) {
  let next = { ...pen };
  const codes = parameters.split(/[;:]/).map(Number);
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at];
    if (code === 0) next = {};
    else if (ON[code]) next[ON[code]] = true;
    else if (OFF[code]) for (const name of OFF[code]) delete next[name];
    else if (code === 38 || code === 48) {
      const [color, used] = extended(codes.slice(at + 1));
      if (color !== null) next[code === 38 ? 'fg' : 'bg'] = color;
      at += used;
    } else if (code >= 30 && code <= 37) next.fg = code - 30;
    else if (code >= 40 && code <= 47) next.bg = code - 40;
    else if (code >= 90 && code <= 97) next.fg = code - 82;
    else if (code >= 100 && code <= 107) next.bg = code - 92;
  }
  return next;
}

/** The colour of `5;n` or `2;r;g;b` as one of sixteen, and how many parameters that took. */
function extended(codes) {
  if (codes[0] === 5 && codes.length > 1) return [sixteenth(codes[1]), 2];
  if (codes[0] === 2 && codes.length > 3) return [nearest(codes[1], codes[2], codes[3]), 4];
  return [null, codes.length];
}

function sixteenth(number) {
  if (!(number >= 0 && number <= 255)) return null;
  if (number < 16) return number;
  if (number >= 232) {
    const grey = (number - 232) * 10 + 8;
    return nearest(grey, grey, grey);
  }
  const part = (divisor) => Math.floor((number - 16) / divisor) % 6 * 51;
  return nearest(part(36), part(6), part(1));
}

// Readable in both themes is what sixteen colours are that the page has chosen: of any other the nearest is shown.
function nearest(red, green, blue) {
  const brightest = Math.max(red, green, blue);
  if (brightest - Math.min(red, green, blue) < 32) return brightest < 64 ? 0 : brightest < 144 ? 8 : brightest < 216 ? 7 : 15;
  const half = brightest * 0.6;
  const color = (red > half ? 1 : 0) | (green > half ? 2 : 0) | (blue > half ? 4 : 0);
  return brightest > 200 ? color + 8 : color;
}

function styleOf(pen) {
  const [fg, bg] = pen.inverse ? [pen.bg ?? 'base', pen.fg ?? 'text'] : [pen.fg, pen.bg];
  const names = ['bold', 'dim', 'italic', 'underline', 'strike'].filter((name) => pen[name]).map((name) => `ansi-${name}`);
  if (bg !== undefined) names.push(`ansi-bg-${bg}`);
  else if (fg !== undefined) names.push(`ansi-fg-${fg}`);
  return names.join(' ');
}
