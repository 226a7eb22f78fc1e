import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitBefore } from '../src/link.js';
import { readOptions } from '../src/options.js';

/** What the address gives, and what it complains of. */
function read(search) {
  const problems = [];
  return { ...readOptions(search, (problem) => problems.push(problem)), problems };
}

test('without a word all is as usual', () => {
  assert.deepEqual(read(''), {
    face: '3d',
    audio: false,
    display_s: 0,
    pixelRatio: 0,
    fps: 0,
    camera: [0, 4, 1],
    background: '',
    theme: '',
    problems: [],
  });
});

test('what the address says is read', () => {
  const found = read(
    '?face=2d&audio=1&display_ms=20&pixel_ratio=0.5&fps=30&camera=20,-5,1.5&background=light' +
      '&theme=mint',
  );
  assert.deepEqual(found, {
    face: '2d',
    audio: true,
    display_s: 0.02,
    pixelRatio: 0.5,
    fps: 30,
    camera: [20, -5, 1.5],
    background: 'light',
    theme: 'mint',
    problems: [],
  });
  assert.equal(read('?camera=left').camera[0] < 0, true);
  assert.deepEqual(read('?camera=30').camera, [30, 4, 1]);
});

test('what cannot be understood is told and left at its default', () => {
  for (const part of [
    'face=4d',
    'audio=yes',
    'fps=0.5',
    'fps=x',
    'pixel_ratio=9',
    'camera=up',
    'camera=1,2,3,4',
    'camera=0,95',
    'camera=0,0,0',
    'background=pink',
    'theme=<script>',
    'display_ms=1e9',
  ]) {
    const { problems, ...options } = read(`?${part}`);
    const { problems: none, ...usual } = read('');
    assert.equal(problems.length, 1, part);
    assert.deepEqual(options, usual, part);
  }
});

test('tries to connect come after 0.25 to 4 s, with jitter, ever more seldom', () => {
  for (let tries = 0; tries < 40; tries += 1) {
    const [least, most] = [waitBefore(tries, 0), waitBefore(tries, 0.999)];
    assert.ok(least >= 0.25 && most <= 4 && least <= most);
    assert.ok(tries > 3 || most > least);
    assert.ok(tries === 0 || least >= waitBefore(tries - 1, 0));
  }
});
