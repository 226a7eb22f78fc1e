/**
 * The face in three dimensions, drawn with WebGL.
 */

import {
  DirectionalLight,
  Euler,
  Group,
  HemisphereLight,
  NeutralToneMapping,
  PerspectiveCamera,
  Quaternion,
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
    // A processor that does a graphics chip's work has none to spare for smooth edges.
    const antialias = !isSoftware();
    this.renderer = new WebGLRenderer({ canvas, antialias, alpha: true });
    this.renderer.toneMapping = NeutralToneMapping;
    this.scene = new Scene();
    this.camera = new PerspectiveCamera(FIELD_OF_VIEW_DEG);
    this.scene.add(this.camera);
    this.addLights();
    this.head = new Group();
    this.scene.add(this.head);
    this.angles = new Euler();
    this.turn = new Quaternion();
    this.rig = null;
  }

  /** Lights hang on the camera, so that the face is lit alike from wherever it is seen. */
  addLights() {
    this.scene.add(new HemisphereLight(0xffffff, 0x9a8f8c, 1.35));
    for (const [color, strength, x, y, z] of [
      [0xfff3e4, 2.3, -0.8, 1.0, 1.1], // key
      [0xdce9ff, 0.8, 1.3, 0.0, 0.8], // fill
      [0xa8dcff, 0.9, 0.8, 1.7, -1.5], // rims, from above: the mouth has no shadow of its own
      [0xffd9b8, 0.5, -1.0, 1.6, -1.4],
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
    this.turn.setFromEuler(this.angles.set(pitch, yaw, roll, 'YXZ'));
    if (!this.rig.turnHead(this.turn)) this.head.quaternion.copy(this.turn);
    this.renderer.render(this.scene, this.camera);
  }
}

/** Whether WebGL runs on the processor: SwiftShader, llvmpipe and their like. */
function isSoftware() {
  const gl = document.createElement('canvas').getContext('webgl2');
  const note = gl?.getExtension('WEBGL_debug_renderer_info');
  const name = note ? gl.getParameter(note.UNMASKED_RENDERER_WEBGL) : '';
  gl?.getExtension('WEBGL_lose_context')?.loseContext();
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}
