/**
 * Where the head is in a rig, whatever its unit, and how far the camera stands from it.
 */

import { Box3, Vector3 } from 'three';

const HEAD_SHARE = 1.9; // a head is so much higher and wider than what moves in its face
const MARGIN = 1.04;

/**
 * The box around the head: what the targets move, made larger, but no larger than the whole.
 * @param {import('./rig.js').Rig} rig
 * @returns {Box3}
 */
export function headBox(rig) {
  const whole = new Box3();
  rig.scene.traverse((object) => {
    if (object.isMesh) whole.union(new Box3().setFromObject(object));
  });
  const face = new Box3();
  const point = new Vector3();
  for (const { mesh, blend, position } of rig.meshes) {
    const touched = new Set(blend.targets.flatMap(({ vertices }) => [...vertices]));
    for (const vertex of touched) {
      point.fromBufferAttribute(position, vertex);
      if (mesh.isSkinnedMesh) mesh.applyBoneTransform(vertex, point);
      face.expandByPoint(point.applyMatrix4(mesh.matrixWorld));
    }
  }
  const size = face.getSize(new Vector3());
  const grown = face.clone().expandByVector(size.multiplyScalar((HEAD_SHARE - 1) / 2));
  return grown.intersect(whole);
}

/**
 * Put the camera before a box so that the box fits into the picture.
 * @param {import('three').PerspectiveCamera} camera its aspect is set
 * @param {Box3} box
 * @param {[number, number, number]} view yaw and pitch in degrees, distance (1: the box fits)
 */
export function placeCamera(camera, box, [yaw_deg, pitch_deg, distance]) {
  const size = box.getSize(new Vector3());
  const center = box.getCenter(new Vector3());
  const slope = Math.tan((camera.fov * Math.PI) / 360);
  const fits = Math.max(size.y, size.x / camera.aspect) / (2 * slope);
  const away = (MARGIN * fits + size.z / 10) * distance;
  const yaw = (yaw_deg * Math.PI) / 180;
  const pitch = (pitch_deg * Math.PI) / 180;
  camera.position
    .set(Math.sin(yaw) * Math.cos(pitch), Math.sin(pitch), Math.cos(yaw) * Math.cos(pitch))
    .multiplyScalar(away)
    .add(center);
  camera.near = away / 50;
  camera.far = away * 50;
  camera.lookAt(center);
  camera.updateProjectionMatrix();
}
