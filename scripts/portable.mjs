#!/usr/bin/env node
// Puts lowrank with all it runs on into one folder for linux-x64: Node itself, the command line in one bundle, Dawn's module for
// WebGPU, TensorFlow.js' WASM files and the Vulkan loader. It needs no network, no installed Node and nothing of this checkout.
// Usage: node scripts/portable.mjs [FOLDER]      (default: out/portable; makes FOLDER/lowrank and FOLDER/lowrank-linux-x64.tar.xz)
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

if (process.argv[2]?.startsWith('-')) {
  console.log('usage: node scripts/portable.mjs [FOLDER]');
  process.exit(process.argv[2] === '--help' ? 0 : 2);
}
const root = fileURLToPath(new URL('..', import.meta.url));
const MOST_BYTES = 60e6;
const WASM_PACKAGE = 'node_modules/@tensorflow/tfjs-backend-wasm';

/** Where distributions keep the loader through which Dawn reaches a driver; a machine with a driver may lack it. */
const VULKAN_LOADERS = ['/usr/lib/x86_64-linux-gnu/libvulkan.so.1', '/usr/lib64/libvulkan.so.1', '/usr/lib/libvulkan.so.1'];

const RUN = `#!/bin/sh
# Runs lowrank from its own folder, with the Node beside it.
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)

# The machine's own Vulkan loader comes first; ours only stands in where there is none.
if [ -e "$here/vulkan/libvulkan.so.1" ] && ! { PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | grep -q 'libvulkan\\.so\\.1'; }; then
  export LD_LIBRARY_PATH="\${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$here/vulkan"
fi
# Containers may keep NVIDIA's driver description where the loader does not look.
if [ -z "\${VK_DRIVER_FILES:-}\${VK_ICD_FILENAMES:-}" ] && ! ls /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json >/dev/null 2>&1; then
  for file in /usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json /usr/local/nvidia/vulkan/icd.d/nvidia_icd.json; do
    [ -e "$file" ] && export VK_DRIVER_FILES="$file" && break
  done
fi
exec "$here/bin/node" "$here/lib/main.js" "$@"
`;

const README = `lowrank for linux-x64, complete in this folder.

    ./lowrank doctor
    ./lowrank bench kernels --device webgpu --shape smol135m
    ./lowrank bench step --device webgpu --shape smol135m --quantize nf4
    ./lowrank bench step --device wasm
`;

async function main(target) {
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error(`this packs the running Node, and that is ${process.platform}-${process.arch}, not linux-x64`);
  const folder = join(target, 'lowrank');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'bin'), { recursive: true });

  await build({
    absWorkingDir: root,
    entryPoints: { main: 'src/cli/main.ts' },
    outdir: join(folder, 'lib'),
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    minifySyntax: true,
    minifyWhitespace: true,
    // TensorFlow.js' packages say that importing them does nothing; it registers their kernels.
    ignoreAnnotations: true,
    external: ['webgpu', '@tensorflow/tfjs-node', '@tensorflow/tfjs-node-gpu'],
    // CommonJS packages in an ES module: they ask for these, and TensorFlow.js looks for its WASM files beside `__dirname`.
    banner: {
      js: [
        "import { createRequire as __createRequire } from 'node:module';",
        "import { fileURLToPath as __fileURLToPath } from 'node:url';",
        'const require = __createRequire(import.meta.url);',
        'const __filename = __fileURLToPath(import.meta.url);',
        `const __dirname = __fileURLToPath(new URL('../${WASM_PACKAGE}/dist', import.meta.url));`,
      ].join('\n'),
    },
    logLevel: 'warning',
  });

  const copy = (path) => cpSync(join(root, path), join(folder, path), { recursive: true });
  for (const path of ['package.json', 'index.js', 'LICENSE', 'dist/linux-x64']) if (existsSync(join(root, 'node_modules/webgpu', path))) copy(`node_modules/webgpu/${path}`);
  for (const path of ['package.json', 'dist/tfjs-backend-wasm.wasm', 'dist/tfjs-backend-wasm-simd.wasm', 'dist/tfjs-backend-wasm-threaded-simd.wasm']) copy(`${WASM_PACKAGE}/${path}`);
  const { name, version, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify({ name, version, license, type: 'module', private: true })}\n`);
  copy('LICENSE');
  cpSync(realpathSync(process.execPath), join(folder, 'bin/node'));
  tryStrip(join(folder, 'bin/node'));
  const loader = VULKAN_LOADERS.find((path) => existsSync(path));
  if (loader !== undefined) {
    mkdirSync(join(folder, 'vulkan'));
    cpSync(realpathSync(loader), join(folder, 'vulkan/libvulkan.so.1'));
  }
  writeFileSync(join(folder, 'lowrank'), RUN, { mode: 0o755 });
  writeFileSync(join(folder, 'README'), README);

  const archive = join(target, 'lowrank-linux-x64.tar.xz');
  execFileSync('tar', ['-C', target, '--owner=0', '--group=0', '--sort=name', '-I', 'xz -T0 -6', '-cf', archive, 'lowrank'], { stdio: 'inherit' });
  const bytes = statSync(archive).size;
  console.log(`${archive}: ${(bytes / 1e6).toFixed(1)} MB${loader === undefined ? '; without a Vulkan loader, which this machine lacks' : ''}`);
  if (bytes > MOST_BYTES) throw new Error(`the archive has more than ${MOST_BYTES / 1e6} MB`);
}

/** Without symbols Node is a fifth smaller; where there is no `strip` it stays as it is. */
function tryStrip(file) {
  try {
    execFileSync('strip', ['--strip-unneeded', file], { stdio: 'ignore' });
    execFileSync(file, ['--version'], { stdio: 'ignore' });
  } catch {
    cpSync(realpathSync(process.execPath), file);
  }
}

await main(resolve(process.argv[2] ?? join(root, 'out/portable')));
