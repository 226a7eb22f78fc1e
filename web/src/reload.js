/**
 * Loads the page anew where the server no longer fits to it; never twice within 5 s.
 */

const KEY = 'dualtalker-reloaded-ms';
const APART_MS = 5000;

/** @param {string} why */
export function reloadPage(why) {
  const wait_ms = Number(sessionStorage.getItem(KEY) ?? 0) + APART_MS - Date.now();
  if (wait_ms > 0 && wait_ms <= APART_MS) {
    setTimeout(() => reloadPage(why), wait_ms);
    return;
  }
  console.warn(`Loading the page anew: ${why}`);
  sessionStorage.setItem(KEY, String(Date.now()));
  location.reload();
}
