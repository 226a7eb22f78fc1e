import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bone, Euler, Group, PerspectiveCamera, Quaternion, Vector3 } from 'three';
import { headBox, placeCamera } from '../src/framing.js';
import { Rig, loadRig } from '../src/rig.js';
import { glbUrl } from '../testing/glb.js';

globalThis.ProgressEvent ??= Event;
globalThis.self ??= globalThis;

const NAMES = ['jawOpen', 'eyeBlinkLeft', 'eyeBlinkRight'];

/** A triangle as high as `size`, at a height. */
const triangle = (size, y = 0) => [0, y, 0, size, y, 0, 0, y + size, 0.2 * size];
const moved = (dx, dy) => [0, 0, 0, dx, dy, 0, 0, 0, 0];

const load = (primitives, shapes, more) =>
  loadRig({ url: glbUrl(primitives, more), shapes }, NAMES);
const corner = ({ position }) => [...position.array.slice(3, 6)];

test('targets are driven by mesh, primitive and place, whatever their names', async () => {
  const primitives = [
    { positions: triangle(1), targets: [moved(0.5, 0), moved(0, 0.25)] },
    { positions: triangle(1), targets: [moved(-0.5, 0), moved(0, -0.25)] },
  ];
  const rig = await load(primitives, {
    '0/0/0': [['jawOpen', 1]],
    '0/1/1': [
      ['eyeBlinkLeft', 0.5],
      ['eyeBlinkRight', 0.5],
    ],
  });
  rig.pose(Float32Array.of(1, 1, 0));
  assert.deepEqual(rig.meshes.map(corner), [
    [1.5, 0, 0],
    [1, -0.125, 0],
  ]);
  rig.pose(Float32Array.of(0, 0, 0));
  assert.deepEqual(rig.meshes.map(corner), [
    [1, 0, 0],
    [1, 0, 0],
  ]);
});

test('three.js is left no dense target', async () => {
  const rig = await load([{ positions: triangle(1), targets: [moved(1, 0)] }], {
    '0/0/0': [['jawOpen', 1]],
  });
  rig.scene.traverse(({ geometry, morphTargetInfluences }) => {
    assert.equal(morphTargetInfluences, undefined);
    if (geometry) assert.deepEqual(geometry.morphAttributes, {});
  });
});

test('a rig that nothing drives is refused', async () => {
  const primitives = [{ positions: triangle(1), targets: [moved(1, 0)] }];
  await assert.rejects(load(primitives, { '0/0/0': [['mouthOpen', 1]] }), /driven/);
});

test('the head fills the picture, whatever the unit', async () => {
  const views = [];
  for (const unit of [0.01, 1, 100]) {
    const primitives = [{ positions: triangle(unit), targets: [moved(0, 0.1 * unit)] }];
    const rig = await load(primitives, { '0/0/0': [['jawOpen', 1]] });
    const camera = new PerspectiveCamera(22, 1.5);
    const box = headBox(rig);
    placeCamera(camera, box, [0, 0, 1]);
    camera.updateMatrixWorld();
    const top = box.getCenter(new Vector3()).setY(box.max.y).project(camera).y;
    assert.ok(top > 0.8 && top < 1, `${top}`);
    views.push(camera.position.divideScalar(unit).toArray());
  }
  for (const view of views) {
    view.forEach((value, axis) => assert.ok(Math.abs(value - views[1][axis]) < 1e-3));
  }
});

test('VRM 0, which looks backward, is turned round', async () => {
  const primitives = [{ positions: triangle(1), targets: [moved(1, 0)] }];
  const more = { extensions: { VRM: {} } };
  const { scene } = await load(primitives, { '0/0/0': [['jawOpen', 1]] }, more);
  assert.ok(new Vector3(0, 0, -1).applyQuaternion(scene.quaternion).z > 0.99);
});

test('a head bone turns in the frame of the world, from its own rest', () => {
  const scene = new Group();
  const [neck, head] = [new Bone(), new Bone()];
  head.name = 'mixamorigHead';
  scene.rotation.y = Math.PI;
  neck.rotation.set(0.3, 0.2, -0.4);
  head.rotation.set(-1.2, 0.1, 0.5);
  scene.add(neck);
  neck.add(head);
  scene.updateMatrixWorld(true);
  const rest = head.getWorldQuaternion(new Quaternion());
  const rig = new Rig(scene, []);
  for (const angles of [new Euler(0.2, 0, 0), new Euler(0.1, -0.5, 0.3, 'YXZ'), new Euler()]) {
    const turn = new Quaternion().setFromEuler(angles);
    assert.equal(rig.turnHead(turn), true);
    const found = head.getWorldQuaternion(new Quaternion());
    assert.ok(found.angleTo(turn.multiply(rest)) < 1e-6);
  }
  assert.equal(new Rig(new Group(), []).turnHead(new Quaternion()), false);
});
