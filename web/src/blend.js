/**
 * Morph targets blended on the CPU: each keeps only the vertices that it moves, so a frame costs
 * what moves and no texture is needed.
 */

const STILL = 1e-5; // of the mesh's size: less than this counts as not moved
const OFF = 1e-4; // a weight below this is zero

/**
 * @typedef {object} SparseTarget
 * @property {Uint32Array} vertices [n] the vertices that it touches
 * @property {Float32Array} positions [n * 3] their displacement at weight 1
 * @property {Float32Array} normals [n * 3] the change of their normals
 *
 * @typedef {object} Mesh
 * @property {Float32Array} positions [vertices * 3]
 * @property {Float32Array} normals [vertices * 3] unit vectors
 * @property {ArrayLike<number> | null} triangles [triangles * 3]; null: three vertices each
 */

/**
 * Keep of a dense target what moves. The change of normals is taken from the triangles around.
 * @param {Mesh} mesh
 * @param {ArrayLike<number>} deltas [vertices * 3]
 * @param {Float32Array | null} normalDeltas [vertices * 3], where the file has them
 * @param {number} size of the mesh, in its own unit
 * @returns {SparseTarget}
 */
export function sparseTarget(mesh, deltas, normalDeltas, size) {
  const moved = (i) =>
    Math.max(Math.abs(deltas[3 * i]), Math.abs(deltas[3 * i + 1]), Math.abs(deltas[3 * i + 2])) >
    STILL * size;
  const count = mesh.positions.length / 3;
  const touched = new Uint8Array(count);
  for (let i = 0; i < count; i += 1) touched[i] = moved(i) ? 1 : 0;
  const turned = normalDeltas ?? normalChange(mesh, deltas, touched);
  const vertices = Uint32Array.from(indicesOf(touched));
  const gather = (source) => {
    const out = new Float32Array(3 * vertices.length);
    vertices.forEach((vertex, k) => {
      for (let axis = 0; axis < 3; axis += 1) out[3 * k + axis] = source[3 * vertex + axis];
    });
    return out;
  };
  return { vertices, positions: gather(deltas), normals: gather(turned) };
}

/** @param {Uint8Array} flags */
function indicesOf(flags) {
  const indices = [];
  for (let i = 0; i < flags.length; i += 1) if (flags[i]) indices.push(i);
  return indices;
}

/**
 * How the normals change where a target moves: posed minus resting normals, both from the
 * triangles. Marks the vertices beside moved ones in `touched`, too.
 * @param {Mesh} mesh
 * @param {ArrayLike<number>} deltas
 * @param {Uint8Array} touched
 */
function normalChange({ positions, triangles }, deltas, touched) {
  const posed = Float32Array.from(positions, (value, i) => value + deltas[i]);
  const corner = triangles ? (i) => triangles[i] : (i) => i;
  const corners = triangles ? triangles.length : positions.length / 3;
  const moving = [];
  for (let i = 0; i < corners; i += 3) {
    if (touched[corner(i)] || touched[corner(i + 1)] || touched[corner(i + 2)]) moving.push(i);
  }
  for (const i of moving) for (let k = 0; k < 3; k += 1) touched[corner(i + k)] = 1;
  const around = [];
  for (let i = 0; i < corners; i += 3) {
    if (touched[corner(i)] || touched[corner(i + 1)] || touched[corner(i + 2)]) around.push(i);
  }
  const before = sumNormals(positions, corner, around);
  const after = sumNormals(posed, corner, around);
  normalize(before);
  normalize(after);
  return after.map((value, i) => value - before[i]);
}

/** Sums of the triangles' normals, each by its area, at their corners. */
function sumNormals(positions, corner, triangles) {
  const sums = new Float32Array(positions.length);
  for (const i of triangles) {
    const [a, b, c] = [3 * corner(i), 3 * corner(i + 1), 3 * corner(i + 2)];
    const px = positions[b] - positions[a];
    const py = positions[b + 1] - positions[a + 1];
    const pz = positions[b + 2] - positions[a + 2];
    const qx = positions[c] - positions[a];
    const qy = positions[c + 1] - positions[a + 1];
    const qz = positions[c + 2] - positions[a + 2];
    for (const vertex of [a, b, c]) {
      sums[vertex] += py * qz - pz * qy;
      sums[vertex + 1] += pz * qx - px * qz;
      sums[vertex + 2] += px * qy - py * qx;
    }
  }
  return sums;
}

/** Make vectors unit vectors, in place. @param {Float32Array} vectors [n * 3] */
function normalize(vectors) {
  for (let i = 0; i < vectors.length; i += 3) {
    const length = Math.hypot(vectors[i], vectors[i + 1], vectors[i + 2]) || 1;
    for (let axis = 0; axis < 3; axis += 1) vectors[i + axis] /= length;
  }
}

/** One mesh and its targets. */
export class Blend {
  /** @param {Mesh} mesh its resting arrays are kept @param {SparseTarget[]} targets */
  constructor(mesh, targets) {
    this.rest = mesh;
    this.targets = targets;
    this.weights = new Float32Array(targets.length);
    const touched = targets.flatMap(({ vertices }) => [vertices[0], vertices.at(-1)]);
    const known = touched.filter((vertex) => vertex !== undefined);
    /** First and last vertex that any target touches. */
    this.range = known.length ? [Math.min(...known), Math.max(...known)] : null;
  }

  /**
   * Write the posed mesh.
   * @param {Float32Array} weights one for each target
   * @param {Float32Array} positions [vertices * 3] written to
   * @param {Float32Array} normals [vertices * 3] written to; not of unit length
   * @returns {boolean} false: nothing changed since the last call
   */
  pose(weights, positions, normals) {
    if (weights.every((weight, i) => weight === this.weights[i])) return false;
    this.weights.set(weights);
    positions.set(this.rest.positions);
    normals.set(this.rest.normals);
    this.targets.forEach((target, i) => {
      if (Math.abs(weights[i]) > OFF) add(target, weights[i], positions, normals);
    });
    return true;
  }
}

/** Add one target, so many times. */
function add(target, weight, positions, normals) {
  const { vertices, positions: moves, normals: turns } = target;
  for (let k = 0, j = 0; k < vertices.length; k += 1, j += 3) {
    const i = 3 * vertices[k];
    positions[i] += weight * moves[j];
    positions[i + 1] += weight * moves[j + 1];
    positions[i + 2] += weight * moves[j + 2];
    normals[i] += weight * turns[j];
    normals[i + 1] += weight * turns[j + 1];
    normals[i + 2] += weight * turns[j + 2];
  }
}

/**
 * What drives a morph target: places and factors in the weights of a frame.
 * @param {[string, number][]} parts
 * @param {string[]} names
 */
export function driverOf(parts, names) {
  return parts
    .map(([name, factor]) => ({ index: names.indexOf(name), factor }))
    .filter(({ index }) => index >= 0);
}

/** A target's weight: the sum of factor times weight, within 0 and 1. */
export function drivenWeight(driver, weights) {
  let sum = 0;
  for (const { index, factor } of driver) sum += factor * weights[index];
  return Math.min(1, Math.max(0, sum));
}
