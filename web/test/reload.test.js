import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { reloadPage } from '../src/reload.js';

test('the page is loaded anew at once, but not twice within 5 s', () => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1e12 });
  mock.method(console, 'warn', () => {});
  const store = new Map();
  globalThis.sessionStorage = {
    getItem: (key) => store.get(key) ?? null,
    setItem: (key, value) => store.set(key, value),
  };
  let loads = 0;
  globalThis.location = { reload: () => (loads += 1) };
  reloadPage('another protocol');
  assert.equal(loads, 1);
  reloadPage('another protocol');
  mock.timers.tick(4900);
  assert.equal(loads, 1);
  mock.timers.tick(200);
  assert.equal(loads, 2);
  mock.timers.reset();
  mock.restoreAll();
});
