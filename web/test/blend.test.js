import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Blend, drivenWeight, driverOf, sparseTarget } from '../src/blend.js';
import { seeded } from '../testing/random.js';

const SIDE = 12;

/** A bumpy sheet of SIDE x SIDE vertices. */
function sheet() {
  const positions = new Float32Array(3 * SIDE * SIDE);
  const triangles = [];
  for (let row = 0; row < SIDE; row += 1) {
    for (let column = 0; column < SIDE; column += 1) {
      const i = row * SIDE + column;
      positions.set([column, row, 0.3 * Math.sin(row + column)], 3 * i);
      if (row && column) triangles.push(i, i - SIDE - 1, i - SIDE, i, i - 1, i - SIDE - 1);
    }
  }
  return { positions, normals: normalsOf(positions, triangles), triangles };
}

/** Unit normals of all vertices, written as plainly as can be. */
function normalsOf(positions, triangles) {
  const at = (i) => [...positions.subarray(3 * i, 3 * i + 3)];
  const minus = (a, b) => a.map((value, axis) => value - b[axis]);
  const sums = new Float64Array(positions.length);
  for (let i = 0; i < triangles.length; i += 3) {
    const [a, b, c] = triangles.slice(i, i + 3);
    const [p, q] = [minus(at(b), at(a)), minus(at(c), at(a))];
    const cross = [0, 1, 2].map((axis) => {
      const [j, k] = [(axis + 1) % 3, (axis + 2) % 3];
      return p[j] * q[k] - p[k] * q[j];
    });
    for (const corner of [a, b, c]) cross.forEach((v, axis) => (sums[3 * corner + axis] += v));
  }
  for (let i = 0; i < sums.length; i += 3) {
    const length = Math.hypot(sums[i], sums[i + 1], sums[i + 2]);
    for (let axis = 0; axis < 3; axis += 1) sums[i + axis] /= length;
  }
  return Float32Array.from(sums);
}

/** A target that lifts a few vertices around one. */
function bump(random) {
  const deltas = new Float32Array(3 * SIDE * SIDE);
  const center = Math.floor(random() * SIDE * SIDE);
  for (const vertex of [center, center + 1, center + SIDE]) {
    if (vertex >= SIDE * SIDE) continue;
    for (let axis = 0; axis < 3; axis += 1) deltas[3 * vertex + axis] = 0.4 * (random() - 0.5);
  }
  return deltas;
}

const closeTo = (found, expected, limit) =>
  found.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < limit, `at ${i}`));

test('sparse blending equals dense', () => {
  const random = seeded(9);
  const mesh = sheet();
  const dense = Array.from({ length: 20 }, () => bump(random));
  const blend = new Blend(
    mesh,
    dense.map((deltas) => sparseTarget(mesh, deltas, null, SIDE)),
  );
  const positions = new Float32Array(mesh.positions.length);
  const normals = new Float32Array(mesh.positions.length);
  for (let round = 0; round < 5; round += 1) {
    const weights = Float32Array.from(dense, () => (random() < 0.3 ? 0 : random()));
    assert.equal(blend.pose(weights, positions, normals), true);
    const expected = mesh.positions.map((value, i) =>
      dense.reduce((sum, deltas, k) => sum + weights[k] * deltas[i], value),
    );
    closeTo(positions, expected, 1e-5);
    assert.equal(blend.pose(weights, positions, normals), false);
  }
});

test('one target at weight 1 gives the normals of the posed mesh, beside it too', () => {
  const random = seeded(10);
  const mesh = sheet();
  for (let round = 0; round < 10; round += 1) {
    const deltas = bump(random);
    const blend = new Blend(mesh, [sparseTarget(mesh, deltas, null, SIDE)]);
    const positions = new Float32Array(mesh.positions.length);
    const normals = new Float32Array(mesh.positions.length);
    blend.pose(Float32Array.of(1), positions, normals);
    closeTo(normals, normalsOf(positions, mesh.triangles), 1e-5);
  }
});

test('a target keeps what moves and no more', () => {
  const mesh = sheet();
  const deltas = new Float32Array(3 * SIDE * SIDE);
  deltas[3 * 40 + 2] = 1;
  const { vertices } = sparseTarget(mesh, deltas, null, SIDE);
  assert.ok(vertices.length <= 7); // the vertex and its neighbors
  const given = sparseTarget(mesh, deltas, new Float32Array(deltas.length), SIDE);
  assert.deepEqual([...given.vertices], [40]);
  assert.deepEqual([...given.positions], [0, 0, 1]);
});

test('weights that return to zero give the resting mesh to the bit', () => {
  const mesh = sheet();
  const blend = new Blend(mesh, [sparseTarget(mesh, bump(seeded(11)), null, SIDE)]);
  const positions = new Float32Array(mesh.positions.length);
  const normals = new Float32Array(mesh.positions.length);
  blend.pose(Float32Array.of(0.7), positions, normals);
  blend.pose(Float32Array.of(0), positions, normals);
  assert.deepEqual(positions, mesh.positions);
  assert.deepEqual(normals, mesh.normals);
});

test('a target follows the sum of what drives it, within 0 and 1', () => {
  const names = ['eyeBlinkLeft', 'eyeBlinkRight', 'jawOpen'];
  const driver = driverOf(
    [
      ['eyeBlinkLeft', 0.5],
      ['eyeBlinkRight', 0.5],
      ['unknown', 1],
    ],
    names,
  );
  assert.equal(drivenWeight(driver, Float32Array.of(1, 0.5, 1)), 0.75);
  assert.equal(drivenWeight(driverOf([['jawOpen', 3]], names), Float32Array.of(0, 0, 1)), 1);
  assert.equal(drivenWeight(driverOf([['jawOpen', -1]], names), Float32Array.of(0, 0, 1)), 0);
});
