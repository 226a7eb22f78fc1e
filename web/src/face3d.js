/**
 * The face in three dimensions, drawn with WebGL.
 */

import {
  DirectionalLight,
  Group,
  HemisphereLight,
  NeutralToneMapping,
  PerspectiveCamera,
  Scene,
  Vector3,
  WebGLRenderer,
} from 'three';
import { headBox, placeCamera } from './framing.js';
import { loadRig } from './rig.js';

const FIELD_OF_VIEW_DEG = 22;
const NECK_SHARE = 0.22; // the head turns about a point this far up from its lower end

/** @typedef {import('./options.js').Options} Options */

export class Face3D {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Options} options
   * @throws {Error} where there is no WebGL 2
   */
  constructor(canvas, options) {
    this.canvas = canvas;
    this.options = options;
    this.renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.renderer.toneMapping = NeutralToneMapping;
    this.scene = new Scene();
    this.camera = new PerspectiveCamera(FIELD_OF_VIEW_DEG);
    this.scene.add(this.camera);
    this.addLights();
    this.head = new Group();
    this.scene.add(this.head);
    this.rig = null;
  }

  /** Lights hang on the camera, so that the face is lit alike from wherever it is seen. */
  addLights() {
    this.scene.add(new HemisphereLight(0xf4f8ff, 0x8a7a72, 1.5));
    for (const [color, strength, x, y, z] of [
      [0xfff4e6, 2.2, -0.9, 1.1, 1.3],
      [0xdfeaff, 0.7, 1.4, 0.1, 0.9],
      [0xbfe6ff, 1.6, 0.5, 1.0, -2.2],
    ]) {
      const light = new DirectionalLight(color, strength);
      light.position.set(x, y, z);
      light.target.position.set(0, 0, 0);
      this.camera.add(light, light.target);
    }
  }

  /** @param {import('./protocol.js').Hello} hello */
  async load({ rig: note, names }) {
    this.rig = await loadRig(note, names);
    this.box = headBox(this.rig);
    this.turns = ['headPitch', 'headYaw', 'headRoll'].map((name) => names.indexOf(name));
    const pivot = this.box.getCenter(new Vector3());
    pivot.y += (NECK_SHARE - 0.5) * (this.box.max.y - this.box.min.y);
    this.head.position.copy(pivot);
    this.rig.scene.position.sub(pivot);
    this.head.add(this.rig.scene);
    this.frame();
  }

  /** @param {number} width CSS pixels @param {number} height @param {number} ratio */
  resize(width, height, ratio) {
    this.renderer.setPixelRatio(ratio);
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.frame();
  }

  frame() {
    if (this.rig) placeCamera(this.camera, this.box, this.options.camera);
  }

  /** @param {Float32Array} weights in the order of the hello's names */
  draw(weights) {
    if (!this.rig) return;
    this.rig.pose(weights);
    const [pitch, yaw, roll] = this.turns.map((index) => (index < 0 ? 0 : weights[index]));
    (this.rig.headBone ?? this.head).rotation.set(pitch, yaw, roll, 'YXZ');
    this.renderer.render(this.scene, this.camera);
  }
}
