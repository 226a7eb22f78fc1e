/**
 * A GLB with morph targets, posed by weights: the default head or the user's own.
 */

import { BufferAttribute, DynamicDrawUsage, Quaternion, TextureLoader } from 'three';
import { GLTFLoader } from 'three/addons/loaders/GLTFLoader.js';
import { Blend, drivenWeight, driverOf, sparseTarget } from './blend.js';

/** @typedef {import('./protocol.js').RigNote} RigNote */

export class Rig {
  /**
   * @param {import('three').Object3D} scene
   * @param {Posed[]} meshes those that weights move
   */
  constructor(scene, meshes) {
    this.scene = scene;
    this.meshes = meshes;
    scene.traverse((object) => {
      if (object.isBone && /head$/i.test(object.name)) this.bone ??= object;
    });
    if (!this.bone) return;
    this.rest = this.bone.quaternion.clone();
    this.frame = this.bone.parent.getWorldQuaternion(new Quaternion());
  }

  /**
   * Turn the bone that carries the head, where the file has one.
   * @param {import('three').Quaternion} turn in the world's frame
   * @returns {boolean} whether there is such a bone
   */
  turnHead(turn) {
    if (!this.bone) return false;
    this.bone.quaternion
      .copy(this.frame)
      .invert()
      .multiply(turn)
      .multiply(this.frame)
      .multiply(this.rest);
    return true;
  }

  /** @param {Float32Array} weights in the order of the hello's names */
  pose(weights) {
    for (const mesh of this.meshes) mesh.pose(weights);
  }
}

/** One geometry that morph targets move, and what drives them. */
class Posed {
  /** @param {import('three').Mesh} mesh @param {{place: number, driver: object[]}[]} targets */
  constructor(mesh, targets) {
    this.mesh = mesh;
    const { geometry } = mesh;
    const rest = restingMesh(geometry);
    const deltas = geometry.morphAttributes.position;
    const turns = geometry.morphAttributes.normal;
    const size = geometry.boundingSphere.radius;
    const sparse = targets.map(({ place }) =>
      sparseTarget(rest, floatsOf(deltas[place]), turns ? floatsOf(turns[place]) : null, size),
    );
    this.blend = new Blend(rest, sparse);
    this.drivers = targets.map(({ driver }) => driver);
    this.weights = new Float32Array(targets.length);
    this.position = ownAttribute(geometry, 'position');
    this.normal = ownAttribute(geometry, 'normal');
    mesh.frustumCulled = false; // its bounds are those of the resting face
  }

  /** @param {Float32Array} weights */
  pose(weights) {
    this.drivers.forEach((driver, i) => {
      this.weights[i] = drivenWeight(driver, weights);
    });
    const { position, normal, blend } = this;
    if (!blend.range || !blend.pose(this.weights, position.array, normal.array)) return;
    const [first, last] = blend.range;
    for (const attribute of [position, normal]) {
      attribute.clearUpdateRanges();
      attribute.addUpdateRange(3 * first, 3 * (last - first + 1));
      attribute.needsUpdate = true;
    }
  }
}

/**
 * Load a rig and make ready what poses it.
 * @param {RigNote} note
 * @param {string[]} names of the weights
 * @returns {Promise<Rig>}
 * @throws {Error} where the file cannot be had or read, or no target of it is driven
 */
export async function loadRig(note, names) {
  const loader = new GLTFLoader();
  loader.register((parser) => {
    // The default loader fetches blob: URLs, which the page's security policy forbids.
    parser.textureLoader = new TextureLoader(parser.options.manager);
    return { name: 'DUALTALKER_textures' };
  });
  const { scene, parser } = await loader.loadAsync(note.url);
  // VRM 0 looks along -z, VRM 1 and plain glTF along +z.
  if (parser.json.extensions?.VRM) scene.rotation.y = Math.PI;
  const meshes = [];
  const done = new Set();
  scene.traverse((object) => {
    const { geometry } = object;
    if (!geometry?.morphAttributes.position || done.has(geometry)) return;
    done.add(geometry);
    const { meshes: mesh, primitives: primitive = 0 } = parser.associations.get(object);
    const targets = geometry.morphAttributes.position
      .map((_, place) => note.shapes[`${mesh}/${primitive}/${place}`] ?? [])
      .map((parts, place) => ({ place, driver: driverOf(parts, names) }))
      .filter(({ driver }) => driver.length);
    if (targets.length) meshes.push(new Posed(object, targets));
  });
  scene.traverse(dropTargets);
  if (!meshes.length) throw new Error(`${note.url}: no morph target is driven`);
  scene.updateMatrixWorld(true);
  return new Rig(scene, meshes);
}

/** Take away the dense targets: three.js would put them into a texture. */
function dropTargets(object) {
  if (!object.geometry) return;
  object.geometry.morphAttributes = {};
  object.morphTargetInfluences = undefined;
}

/** @param {import('three').BufferGeometry} geometry @returns {import('./blend.js').Mesh} */
function restingMesh(geometry) {
  if (!geometry.attributes.normal) geometry.computeVertexNormals();
  geometry.computeBoundingSphere();
  return {
    positions: floatsOf(geometry.attributes.position),
    normals: floatsOf(geometry.attributes.normal),
    triangles: geometry.index?.array ?? null,
  };
}

/** An attribute as floats [n * 3], whatever its storage. */
function floatsOf(attribute) {
  const floats = new Float32Array(3 * attribute.count);
  for (let i = 0; i < attribute.count; i += 1) {
    floats[3 * i] = attribute.getX(i);
    floats[3 * i + 1] = attribute.getY(i);
    floats[3 * i + 2] = attribute.getZ(i);
  }
  return floats;
}

/** Replace an attribute by one of floats that is written each frame. */
function ownAttribute(geometry, name) {
  const attribute = new BufferAttribute(floatsOf(geometry.attributes[name]), 3);
  attribute.setUsage(DynamicDrawUsage);
  geometry.setAttribute(name, attribute);
  return attribute;
}
