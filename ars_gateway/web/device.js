/**
 * Who this browser is to the gateway: an Ed25519 key that cannot leave it (WebCrypto, IndexedDB), and the token that
 * the gateway gave its device (localStorage). Where the browser has no such keys, a token is kept in memory only.
 */

const DATABASE = 'ars';
const STORE = 'device';
const KEPT = 'ars.device';
const FIRST_SCOPES = ['operator.admin', 'operator.read', 'operator.write', 'operator.approvals', 'operator.pairing'];
const CAPS = ['tool-events', 'elicitation', 'ars'];

/** What is shown to come in. `token`: of the address, or pasted; null: the device's own. */
export class Credentials {
  token = null;
  #device = undefined;
  #instance = crypto.getRandomValues(new Uint32Array(2)).join('-');

  /** Whether there is anything to come in by. */
  get any() {
    return this.token !== null || kept() !== null;
  }

  /** The id of this browser's device, where it has one. */
  get deviceId() {
    return this.#device?.id ?? null;
  }

  /** The params of connect. */
  async introduce(nonce) {
    this.#device ??= await device();
    const known = this.token === null ? kept() : null;
    const token = this.token ?? known?.token ?? '';
    const scopes = known?.scopes ?? FIRST_SCOPES;
    const params = { minProtocol: 3, maxProtocol: 3, client: this.#client(), role: 'operator', scopes, caps: CAPS };
    params.auth = { token };
    params.locale = navigator.language || 'en';
    if (this.#device !== null) params.device = await signed(this.#device, params, nonce);
    return params;
  }

  /** The gateway has let us in: the device's token is kept, a token that was shown is not needed any more. */
  welcomed(hello) {
    if (!hello.auth?.deviceToken) return;
    write({ token: hello.auth.deviceToken, scopes: hello.auth.scopes });
    this.token = null;
  }

  /** What was shown is wrong. Returns whether there is something else to try. */
  rejected() {
    const shown = this.token;
    this.token = null;
    if (shown === null) forget();
    return kept() !== null;
  }

  /** Signs out: neither token nor key is left. */
  async leave() {
    this.token = null;
    this.#device = undefined;
    forget();
    await removeKey();
  }

  #client() {
    const id = this.#device === null ? 'webchat-ui' : 'openclaw-control-ui';
    const mode = this.#device === null ? 'webchat' : 'ui';
    return { id, version: '1', platform: 'web', mode, displayName: browser(), instanceId: this.#instance };
  }
}

function browser() {
  const agent = navigator.userAgent;
  const name = /Firefox|Edg|OPR|Chrome|Safari/.exec(agent)?.[0] ?? 'Browser';
  const system = /Android|iPhone|iPad|Windows|Mac OS X|Linux/.exec(agent)?.[0] ?? '';
  return `${{ Edg: 'Edge', OPR: 'Opera' }[name] ?? name}${system ? ` on ${system}` : ''}`;
}

async function signed({ id, publicKey, key }, params, nonce) {
  const signedAt = Date.now();
  const { client, role, scopes, auth } = params;
  const text = ['v2', id, client.id, client.mode, role, scopes.join(','), signedAt, auth.token, nonce].join('|');
  const signature = await crypto.subtle.sign('Ed25519', key, new TextEncoder().encode(text));
  return { id, publicKey, signature: base64url(signature), signedAt, nonce };
}

// ── the key ──

/** This browser's device: {id, publicKey, key}; null where it cannot have one. */
async function device() {
  if (!globalThis.crypto?.subtle || !globalThis.indexedDB) return null;
  try {
    const pair = await keyPair();
    const raw = await crypto.subtle.exportKey('raw', pair.publicKey);
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', raw));
    const id = [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    return { id, publicKey: base64url(raw), key: pair.privateKey };
  } catch {
    return null; // no Ed25519 here, or no database in a private window
  }
}

async function keyPair() {
  const known = await transact('readonly', (store) => store.get('key'));
  if (known) return known;
  const made = await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify']);
  // Another tab may have been quicker: its key counts.
  await transact('readwrite', (store) => store.add(made, 'key')).catch(() => null);
  return transact('readonly', (store) => store.get('key'));
}

async function removeKey() {
  await transact('readwrite', (store) => store.delete('key')).catch(() => null);
}

async function transact(mode, run) {
  const database = await opened();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const request = run(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error ?? request.error);
    });
  } finally {
    database.close();
  }
}

function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = request.onblocked = () => reject(request.error);
  });
}

// ── the token ──

function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(KEPT) ?? 'null');
    return typeof found?.token === 'string' && Array.isArray(found.scopes) ? found : null;
  } catch {
    return null;
  }
}

function write(value) {
  try {
    localStorage.setItem(KEPT, JSON.stringify(value));
  } catch {
    // no place here: the next visit asks for a token
  }
}

function forget() {
  localStorage.removeItem(KEPT);
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
