import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServerClock } from '../src/clock.js';
import { seeded } from '../testing/random.js';

const OFFSET_S = 12000;

/**
 * Run a clock as the page does: eight pings quickly, then one a second; 60 frames a second.
 * @param {object} trace
 * @param {number} trace.duration_s
 * @param {(t_s: number) => number} [trace.truth] the server's time at a page time
 * @param {(t_s: number) => [number, number]} trace.ways seconds there and back
 * @param {(t_s: number, error_s: number, clock: ServerClock) => void} onFrame
 */
function run({ duration_s, truth = (t_s) => t_s + OFFSET_S, ways }, onFrame) {
  const clock = new ServerClock();
  const answers = [];
  const pings = Array.from({ length: 8 }, (_, i) => 0.08 * i);
  for (let t_s = 1; t_s < duration_s; t_s += 1) pings.push(t_s);
  for (const sent_s of pings) {
    const [there_s, back_s] = ways(sent_s);
    const turned_s = sent_s + there_s;
    answers.push({ sent_s, received_s: turned_s + back_s, server_s: truth(turned_s) });
  }
  answers.sort((a, b) => a.received_s - b.received_s); // some overtake others
  for (let t_s = 0; t_s < duration_s; t_s += 1 / 60) {
    while (answers.length && answers[0].received_s <= t_s) {
      const { sent_s, received_s, server_s } = answers.shift();
      clock.addPong(sent_s, received_s, server_s);
    }
    clock.advance();
    if (clock.known) onFrame(t_s, clock.serverTime(t_s) - truth(t_s), clock);
  }
  return clock;
}

test('the offset is unknown before the first answer', () => {
  const clock = new ServerClock();
  clock.advance();
  assert.ok(Number.isNaN(clock.serverTime(1)));
  assert.equal(clock.known, false);
});

test('jitter: the least round trip counts', () => {
  const random = seeded(1);
  const ways = () => [0.002 + 0.03 * random() ** 4, 0.002 + 0.03 * random() ** 4];
  let worst_s = 0;
  run({ duration_s: 120, ways }, (t_s, error_s) => {
    if (t_s > 10) worst_s = Math.max(worst_s, Math.abs(error_s));
  });
  assert.ok(worst_s < 0.002, `${worst_s}`);
});

test('bursts in one direction do not lead it astray', () => {
  const random = seeded(2);
  const ways = (t_s) => [0.003 + 0.002 * random(), 0.003 + (t_s % 20 > 5 ? 0.15 : 0)];
  let worst_s = 0;
  run({ duration_s: 120, ways }, (t_s, error_s) => {
    worst_s = Math.max(worst_s, Math.abs(error_s));
  });
  assert.ok(worst_s < 0.003, `${worst_s}`);
});

test('answers that overtake each other', () => {
  const random = seeded(3);
  const ways = () => [0.002, random() < 0.3 ? 2.5 * random() : 0.002];
  let worst_s = 0;
  run({ duration_s: 60, ways }, (t_s, error_s) => {
    if (t_s > 1) worst_s = Math.max(worst_s, Math.abs(error_s));
  });
  assert.ok(worst_s < 0.002, `${worst_s}`);
});

test('drift is followed, at most 1 ms a frame', () => {
  const random = seeded(4);
  const truth = (t_s) => OFFSET_S + t_s * (1 + 80e-6);
  const ways = () => [0.002 + 0.01 * random(), 0.002 + 0.01 * random()];
  let worst_s = 0;
  let last_s = NaN;
  let fastest_s = 0;
  const clock = run({ duration_s: 1800, truth, ways }, (t_s, error_s, { offset_s }) => {
    worst_s = Math.max(worst_s, Math.abs(error_s));
    if (t_s > 2) fastest_s = Math.max(fastest_s, Math.abs(offset_s - last_s));
    last_s = offset_s;
  });
  assert.ok(worst_s < 0.008, `${worst_s}`);
  assert.ok(fastest_s <= 0.001 + 1e-9, `${fastest_s}`);
  assert.equal(clock.steps, 0);
});

test('a clock that is set is followed in one step, within a second or two', () => {
  const random = seeded(5);
  const truth = (t_s) => t_s + OFFSET_S + (t_s > 40 ? 3.7 : 0);
  const ways = () => [0.002 + 0.02 * random(), 0.002 + 0.02 * random()];
  let worst_s = 0;
  const clock = run({ duration_s: 80, truth, ways }, (t_s, error_s) => {
    if (t_s < 40 || t_s > 42) worst_s = Math.max(worst_s, Math.abs(error_s));
  });
  assert.ok(worst_s < 0.012, `${worst_s}`);
  assert.equal(clock.steps, 1);
});

test('a step below 100 ms is slewed', () => {
  const truth = (t_s) => t_s + OFFSET_S + (t_s > 40 ? 0.06 : 0);
  const clock = run({ duration_s: 45, truth, ways: () => [0.002, 0.002] }, () => {});
  assert.equal(clock.steps, 0);
  assert.ok(Math.abs(clock.serverTime(45) - truth(45)) < 0.001);
});

test('an answer from before its question is ignored', () => {
  const clock = new ServerClock();
  clock.addPong(2, 1, 100);
  assert.equal(clock.known, false);
});
