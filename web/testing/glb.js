/** Makes small GLB files for tests. */

/**
 * A GLB of one mesh, one primitive for each entry, as a data: URL.
 * @param {{positions: number[], targets: number[][]}[]} primitives
 * @param {object} [more] of the document, for example extensions
 */
export function glbUrl(primitives, more = {}) {
  const views = [];
  const accessors = [];
  let length = 0;
  const add = (values) => {
    const bytes = Buffer.from(Float32Array.from(values).buffer);
    views.push({ buffer: 0, byteOffset: length, byteLength: bytes.length, bytes });
    const axis = (k) => values.filter((_, i) => i % 3 === k);
    const ends = (f) => [0, 1, 2].map((k) => f(...axis(k)));
    const [min, max] = [ends(Math.min), ends(Math.max)];
    const count = values.length / 3;
    accessors.push({
      bufferView: views.length - 1,
      componentType: 5126,
      count,
      type: 'VEC3',
      min,
      max,
    });
    length += bytes.length;
    return accessors.length - 1;
  };
  const described = primitives.map(({ positions, targets }) => ({
    attributes: { POSITION: add(positions) },
    targets: targets.map((target) => ({ POSITION: add(target) })),
  }));
  const bytes = Buffer.concat(views.map((view) => view.bytes));
  const document = {
    asset: { version: '2.0' },
    scene: 0,
    scenes: [{ nodes: [0] }],
    nodes: [{ mesh: 0 }],
    meshes: [{ primitives: described }],
    bufferViews: views.map(({ bytes: _, ...view }) => view),
    accessors,
    buffers: [{ byteLength: length }],
    ...more,
  };
  return `data:model/gltf-binary;base64,${pack(document, bytes).toString('base64')}`;
}

/** @param {object} document @param {Buffer} bytes a multiple of 4 */
function pack(document, bytes) {
  const text = JSON.stringify(document);
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 4) * 4));
  const head = Buffer.alloc(20);
  head.writeUInt32LE(0x46546c67, 0);
  head.writeUInt32LE(2, 4);
  head.writeUInt32LE(28 + json.length + bytes.length, 8);
  head.writeUInt32LE(json.length, 12);
  head.writeUInt32LE(0x4e4f534a, 16);
  const chunk = Buffer.alloc(8);
  chunk.writeUInt32LE(bytes.length, 0);
  chunk.writeUInt32LE(0x004e4942, 4);
  return Buffer.concat([head, json, chunk, bytes]);
}
