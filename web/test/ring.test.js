import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameRing } from '../src/ring.js';
import { seeded } from '../testing/random.js';

const FPS = 60;
const frame = (index, value, at_s = index / FPS) => ({
  index,
  at_s,
  weights: Float32Array.of(value, 1 - value),
});
const truth = (t_s) => 0.5 + 0.4 * Math.sin(3 * t_s);
const sample = (ring, t_s) => {
  const out = new Float32Array(2);
  const missing_s = ring.sample(t_s, out);
  return { missing_s, value: out[0], other: out[1] };
};

test('between two frames the weights are on the line between them', () => {
  const ring = new FrameRing();
  ring.add(frame(0, 0));
  ring.add(frame(1, 0.6));
  const { missing_s, value, other } = sample(ring, 0.25 / FPS);
  assert.equal(missing_s, 0);
  assert.ok(Math.abs(value - 0.15) < 1e-6);
  assert.ok(Math.abs(other - 0.85) < 1e-6);
});

test('order of arrival and duplicates change nothing', () => {
  const random = seeded(6);
  const frames = Array.from({ length: 100 }, (_, k) => frame(k, truth(k / FPS)));
  const mixed = frames
    .flatMap((one) => (random() < 0.2 ? [one, one] : [one]))
    .map((one, k) => ({ one, place: k + 8 * random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ one }) => one);
  const ring = new FrameRing();
  const added = mixed.filter((one) => ring.add(one)).length;
  assert.equal(added, 100);
  assert.equal(ring.duplicates, mixed.length - 100);
  assert.equal(ring.missing, 0);
  for (let t_s = 0; t_s < 99 / FPS; t_s += 0.003) {
    assert.ok(Math.abs(sample(ring, t_s).value - truth(t_s)) < 2e-4);
  }
});

test('missing numbers are counted, and one that comes late no longer', () => {
  const ring = new FrameRing();
  for (const index of [0, 1, 4, 3, 7]) ring.add(frame(index, 0));
  assert.equal(ring.missing, 3); // 2, 5, 6
});

test('another stream is no loss', () => {
  const ring = new FrameRing();
  ring.add(frame(5000, 0, 1));
  ring.add(frame(0, 0, 1.1));
  ring.add(frame(1, 0, 1.2));
  assert.equal(ring.missing, 0);
});

test('2 s are kept', () => {
  const ring = new FrameRing();
  for (let index = 0; index < 600; index += 1) ring.add(frame(index, 0));
  assert.ok(ring.frames.length <= 2 * FPS + 1);
  assert.ok(ring.frames.length >= 2 * FPS - 1);
  assert.equal(ring.discarded, 600 - ring.frames.length); // none was shown
  const shown = new FrameRing();
  for (let index = 0; index < 600; index += 1) {
    shown.add(frame(index, 0));
    sample(shown, index / FPS);
  }
  assert.equal(shown.discarded, 0);
});

test('before the first frame it stands; after the last one it stands and is missed', () => {
  const ring = new FrameRing();
  assert.equal(sample(ring, 5).missing_s, Infinity);
  ring.add(frame(0, 0.3, 10));
  assert.ok(sample(ring, 9.95).missing_s < 0.1);
  assert.ok(Math.abs(sample(ring, 10.4).missing_s - 0.4) < 1e-9);
  assert.ok(Math.abs(sample(ring, 10.4).value - 0.3) < 1e-6);
});

test('over a gap the face stands, then goes to the next frame without a jump', () => {
  const ring = new FrameRing();
  ring.add(frame(0, 0.2, 1));
  ring.add(frame(60, 0.8, 2));
  assert.ok(Math.abs(sample(ring, 1.5).value - 0.2) < 1e-6);
  assert.ok(Math.abs(sample(ring, 1.5).missing_s - 0.5) < 1e-9);
  let last = 0.2;
  for (let t_s = 1; t_s <= 2; t_s += 0.001) {
    const { value } = sample(ring, t_s);
    assert.ok(value - last < 0.01 && value >= last - 1e-9);
    last = value;
  }
  assert.ok(last > 0.79);
});
