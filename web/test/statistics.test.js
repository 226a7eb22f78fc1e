import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Statistics } from '../src/statistics.js';

const FPS = 50;

/** Draw for 3 s; frames are due at each 1 / FPS, pictures come `behind_s` later. */
function watch(statistics, pictures_hz, behind_s = () => 0) {
  for (let k = 0; k < 3 * pictures_hz; k += 1) {
    const page_s = k / pictures_hz + behind_s(k);
    const before = { at_s: Math.floor(page_s * FPS + 1e-6) / FPS };
    statistics.addDrawing(page_s, { before }, page_s);
  }
  return statistics.summary();
}

test('a picture at each frame has no delay, one a little later has that delay', () => {
  const prompt = watch(new Statistics(), FPS);
  assert.ok(Math.abs(prompt.delay_ms) < 0.01 && prompt.jitter_ms < 0.01);
  assert.ok(Math.abs(prompt.fps - FPS) < 0.01);
  assert.equal(prompt.shown, 3 * FPS);
  const slow = watch(new Statistics(), FPS, () => 0.008);
  assert.ok(Math.abs(slow.delay_ms - 8) < 0.01 && slow.jitter_ms < 0.01);
});

test('jitter is the standard deviation of the delay', () => {
  const { delay_ms, jitter_ms } = watch(new Statistics(), FPS, (k) => (k % 2 ? 0.01 : 0));
  assert.ok(Math.abs(delay_ms - 5) < 0.2 && Math.abs(jitter_ms - 5) < 0.2);
});

test('a frame that stands still is counted once', () => {
  const statistics = new Statistics();
  for (let k = 0; k < 60; k += 1) {
    statistics.addDrawing(k / 60, { before: { at_s: 0 } }, k / 60);
  }
  assert.equal(statistics.summary().shown, 1);
  assert.ok(Math.abs(statistics.summary().fps - 60) < 0.01);
});

test('frames that come after their time are late; without a clock nobody knows', () => {
  const statistics = new Statistics();
  statistics.addArrival(10, 10.001);
  statistics.addArrival(10, 9.9);
  statistics.addArrival(10, NaN);
  assert.equal(statistics.summary().late, 1);
});

test('before the first picture all is zero', () => {
  const { delay_ms, jitter_ms, fps, shown } = new Statistics().summary();
  assert.deepEqual([delay_ms, jitter_ms, fps, shown], [0, 0, 0, 0]);
});
