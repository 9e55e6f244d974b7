/** Files that go with a prompt: pasted, dropped or picked. Pictures that are too large for a frame are made smaller. */

import { el, icon, reveal, toast } from './dom.js';

const MOST_FILES = 10;
// Of a frame so much is kept for the prompt itself and for JSON; base64 makes four bytes of three.
const ROOM = 48 * 1024;
const SIDES = [2048, 1568, 1024, 768];
const QUALITY = 0.85;

/** The files of one prompt. `most()` is how many bytes a frame may have. */
export class Attachments {
  #files = []; // {fileName, mimeType, content, size}

  constructor(most) {
    this.most = most;
    this.element = el('div', { class: 'attachments', role: 'list', aria: { label: 'Attached files' }, hidden: true });
    this.input = el('input', { type: 'file', multiple: true, hidden: true, tabindex: '-1', on: { change: () => this.#picked() } });
  }

  get count() {
    return this.#files.length;
  }

  /** What is attached, as chat.send takes it; nothing is attached any more. */
  take() {
    const taken = this.#files.map(({ fileName, mimeType, content }) => ({ fileName, mimeType, content }));
    this.#files = [];
    this.#draw();
    return taken;
  }

  /** Lets the person pick files. */
  pick() {
    this.input.value = '';
    this.input.click();
  }

  #picked() {
    this.add([...this.input.files]);
  }

  /** Adds files, those that fit. */
  async add(files) {
    for (const file of files) {
      if (this.#files.length >= MOST_FILES) {
        toast(`At most ${MOST_FILES} files go with one prompt.`, { kind: 'error' });
        return;
      }
      try {
        await this.#addOne(file);
      } catch (why) {
        toast(`${reveal(file.name)}: ${why.message}`, { kind: 'error' });
      }
      this.#draw();
    }
  }

  async #addOne(file) {
    const left = this.#left();
    const fit = file.size <= left ? file : await smaller(file, left);
    if (fit === null) throw new Error(`too large: ${bytes(file.size)}, and ${bytes(Math.max(0, left))} are left`);
    const mimeType = await typeOf(fit);
    const url = await dataUrl(fit);
    this.#files.push({ fileName: file.name || 'pasted', mimeType, content: url.slice(url.indexOf(',') + 1), size: fit.size });
  }

  #left() {
    const used = this.#files.reduce((sum, file) => sum + file.content.length, 0);
    return Math.floor(((this.most() - ROOM - used) * 3) / 4);
  }

  #draw() {
    this.element.hidden = this.#files.length === 0;
    this.element.replaceChildren(...this.#files.map((file) => this.#chip(file)));
  }

  #chip(file) {
    const picture = file.mimeType.startsWith('image/') && el('img', { src: `data:${file.mimeType};base64,${file.content}`, alt: '' });
    const drop = () => {
      this.#files = this.#files.filter((it) => it !== file);
      this.#draw();
    };
    const label = `Remove ${reveal(file.fileName)}`;
    const remove = el('button', { type: 'button', class: 'icon-button', aria: { label }, title: label, on: { click: drop } }, icon('x'));
    return el('div', { class: 'attachment', role: 'listitem' }, picture || icon('file'), el('span', { class: 'attachment-name', text: reveal(file.fileName) }), el('span', { class: 'dim', text: bytes(file.size) }), remove);
  }
}

/** What a file is; the browser knows few endings, and what can be read is text. */
async function typeOf(file) {
  if (file.type && file.type !== 'application/octet-stream') return file.type;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer());
    return text.includes('\0') ? 'application/octet-stream' : 'text/plain';
  } catch {
    return 'application/octet-stream';
  }
}

/** A picture in fewer bytes; null where it is none, or cannot be small enough. */
async function smaller(file, most) {
  if (!/^image\/(png|jpeg|webp|gif|bmp|avif)$/.test(file.type) || most <= 0) return null;
  const picture = await createImageBitmap(file).catch(() => null);
  if (picture === null) return null;
  for (const side of SIDES) {
    const scale = Math.min(1, side / Math.max(picture.width, picture.height));
    const canvas = el('canvas', { width: Math.round(picture.width * scale), height: Math.round(picture.height * scale) });
    canvas.getContext('2d').drawImage(picture, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', QUALITY));
    if (blob !== null && blob.size <= most) return blob;
  }
  return null;
}

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error('it cannot be read'));
    reader.readAsDataURL(blob);
  });
}

function bytes(count) {
  if (count < 1024) return `${count} B`;
  return count < 1024 * 1024 ? `${Math.round(count / 1024)} KB` : `${(count / 1024 / 1024).toFixed(1)} MB`;
}
