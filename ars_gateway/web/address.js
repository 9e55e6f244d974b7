/** An address of the web taken apart for a person who is to judge it. Pure. */

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/**
 * @param {string} text
 * @returns {{href: string, before: string, host: string, after: string, doubts: string[]} | null}  `before`, `host` and
 *   `after` joined are `href`, which is as a browser would go there: no http or https is null
 */
export function addressOf(text) {
  let url;
  try {
    url = new URL(String(text));
  } catch {
    return null;
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return null;
  const { href, host } = url;
  const user = url.username || url.password;
  const at = href.indexOf(host, user ? href.indexOf('@') : url.protocol.length + 2);
  const doubts = [];
  if (user) doubts.push(`What stands before the @ is a name to sign in with, and not the host: this leads to ${host}.`);
  if (/(^|\.)xn--/.test(url.hostname)) doubts.push('The host is written in letters that may look like others: here it stands as it is looked up.');
  if (url.protocol === 'http:' && !LOOPBACK.test(url.hostname)) doubts.push('The way there is not encrypted (http).');
  return { href, before: href.slice(0, at), host, after: href.slice(at + host.length), doubts };
}
