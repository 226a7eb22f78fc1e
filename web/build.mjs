/**
 * Builds the page into `dualtalker/display/page/`, or into the folder given. The same sources give
 * the same bytes, wherever they lie.
 */

import { build } from 'esbuild';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, '../dualtalker/display/page'));

await mkdir(out, { recursive: true });
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: ['src/main.js'],
  outfile: join(out, 'face.js'),
  bundle: true,
  minify: true,
  format: 'iife',
  target: ['chrome90', 'firefox91', 'safari15'],
  charset: 'utf8',
  legalComments: 'none', // NOTICE.txt has them
  metafile: true,
});
await build({
  absWorkingDir: here,
  entryPoints: ['src/face.css'],
  outfile: join(out, 'face.css'),
  minify: true,
});
for (const name of ['index.html', 'icon.svg']) {
  await copyFile(join(here, 'src', name), join(out, name));
}
const license = await readFile(join(here, 'node_modules/three/LICENSE'), 'utf8');
const { version } = JSON.parse(
  await readFile(join(here, 'node_modules/three/package.json'), 'utf8'),
);
await writeFile(
  join(out, 'NOTICE.txt'),
  `face.js contains three.js ${version} (https://threejs.org), under this license:\n\n` +
    license.replaceAll('\r\n', '\n'),
);
const [{ bytes }] = Object.values(metafile.outputs);
console.log(`${out}: face.js has ${Math.round(bytes / 1000)} kB`);
