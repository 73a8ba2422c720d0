#!/usr/bin/env node
// Puts lowrank with all it runs on into one folder for linux-x64: Node itself (compressed), the command line in one
// bundle, Dawn's module for WebGPU, TensorFlow.js' WASM file and the Vulkan loader. It needs no network, no installed
// Node and nothing of this checkout: a shell and gzip. Node is unpacked into the user's cache, or a temporary folder,
// when it is first started. Usage: node scripts/portable.mjs [FOLDER]      (default: out/portable; makes FOLDER/lowrank
// and FOLDER/lowrank-linux-x64.tar.gz)
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

if (process.argv[2]?.startsWith('-')) {
  console.log('usage: node scripts/portable.mjs [FOLDER]');
  process.exit(process.argv[2] === '--help' ? 0 : 2);
}
const root = fileURLToPath(new URL('..', import.meta.url));
const MOST_BYTES = 60e6;
const WASM_PACKAGE = 'node_modules/@tensorflow/tfjs-backend-wasm';

/** Where distributions keep the loader through which Dawn reaches a driver; a machine with a driver may lack it. */
const VULKAN_LOADERS = [
  '/usr/lib/x86_64-linux-gnu/libvulkan.so.1',
  '/usr/lib64/libvulkan.so.1',
  '/usr/lib/libvulkan.so.1',
];

const runScript = ({ node, dawn }) => `#!/bin/sh
# Runs lowrank from its own folder, with the Node and the Dawn that lie packed beside it.
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
# Both are unpacked once, under names that belong to these very binaries; where files may not be run the next folder is tried.
unpack() {
  [ -x "$2" ] || { gzip -dc "$1" >"$2.$$" 2>/dev/null && chmod 700 "$2.$$" && mv "$2.$$" "$2"; } || { rm -f "$2.$$"; return 1; }
}
mine=\${TMPDIR:-/tmp}/lowrank-$(id -u)
for cache in "\${XDG_CACHE_HOME:+$XDG_CACHE_HOME/lowrank}" "\${HOME:+$HOME/.cache/lowrank}" "$mine" "$here/bin"; do
  [ -n "$cache" ] || continue
  node=$cache/node-${node}
  export LOWRANK_DAWN="$cache/dawn-${dawn}.node"
  if [ ! -x "$node" ] || [ ! -x "$LOWRANK_DAWN" ]; then
    # Others must not be able to put a program there.
    mkdir -p -m 700 "$cache" 2>/dev/null && [ -O "$cache" ] || continue
    unpack "$here/bin/node.gz" "$node" && unpack "$here/bin/dawn.node.gz" "$LOWRANK_DAWN" || continue
  fi
  [ -O "$node" ] && [ -O "$LOWRANK_DAWN" ] && "$node" --version >/dev/null 2>&1 && exec "$node" "$here/lib/main.js" "$@"
done
echo "lowrank: Node and Dawn can be unpacked (130 MB, gzip) neither into a cache folder nor into $mine nor into $here/bin: set TMPDIR to a folder where programs may run" >&2
exit 4
`;

const README = `lowrank for linux-x64, complete in this folder.

    ./lowrank doctor
    ./lowrank bench kernels --device webgpu --shape smol135m
    ./lowrank bench kernels --device webgpu --shape llama1b --op quantizedMatmul --peak GFLOPS --matrix-peak GFLOPS
    ./lowrank bench step --device webgpu --shape smol135m --quantize nf4
    ./lowrank bench step --device wasm
`;

async function main(target) {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new Error(`this packs the running Node, and that is ${process.platform}-${process.arch}, not linux-x64`);
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
    // What a machine without a network has no use for stays out: queues are for several.
    external: ['webgpu', '@tensorflow/tfjs-node', '@tensorflow/tfjs-node-gpu', 'bullmq', 'ioredis'],
    // CommonJS packages in an ES module: they ask for these, and TensorFlow.js looks for its WASM files beside
    // `__dirname`.
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
  for (const path of ['package.json', 'LICENSE'])
    if (existsSync(join(root, 'node_modules/webgpu', path))) copy(`node_modules/webgpu/${path}`);
  const entry = readFileSync(join(root, 'node_modules/webgpu/index.js'), 'utf8');
  const packed = entry.replace('require(dawnNodePath)', 'require(process.env.LOWRANK_DAWN)');
  if (packed === entry)
    throw new Error("the package 'webgpu' loads its binary in another way than scripts/portable.mjs knows");
  writeFileSync(join(folder, 'node_modules/webgpu/index.js'), packed);
  const pack = (source, name, load) => {
    const binary = stripped(source, load);
    writeFileSync(join(folder, `bin/${name}.gz`), gzipSync(binary, { level: 9 }));
    return createHash('sha256').update(binary).digest('hex').slice(0, 16);
  };
  const dawn = pack(join(root, 'node_modules/webgpu/dist/linux-x64/dawn.node'), 'dawn.node', (file) =>
    execFileSync(process.execPath, ['-e', 'require(process.argv[1])', file], { stdio: 'ignore' }),
  );
  const node = pack(realpathSync(process.execPath), 'node', (file) =>
    execFileSync(file, ['--version'], { stdio: 'ignore' }),
  );
  // Node has SIMD, and tfjs does not start its threaded build there.
  for (const path of ['package.json', 'dist/tfjs-backend-wasm-simd.wasm']) copy(`${WASM_PACKAGE}/${path}`);
  const { name, version, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  writeFileSync(
    join(folder, 'package.json'),
    `${JSON.stringify({ name, version, license, type: 'module', private: true })}\n`,
  );
  copy('LICENSE');
  const loader = VULKAN_LOADERS.find((path) => existsSync(path));
  if (loader !== undefined) {
    mkdirSync(join(folder, 'vulkan'));
    cpSync(realpathSync(loader), join(folder, 'vulkan/libvulkan.so.1'));
  }
  writeFileSync(join(folder, 'lowrank'), runScript({ node, dawn }), { mode: 0o755 });
  writeFileSync(join(folder, 'README'), README);

  const bytes = sizeOf(folder);
  if (bytes > MOST_BYTES) throw new Error(`${folder} has ${megabytes(bytes)}, more than ${megabytes(MOST_BYTES)}`);
  const archive = join(target, 'lowrank-linux-x64.tar.gz');
  execFileSync('tar', ['-C', target, '--owner=0', '--group=0', '--sort=name', '-czf', archive, 'lowrank'], {
    stdio: 'inherit',
  });
  const without = loader === undefined ? '; without a Vulkan loader, which this machine lacks' : '';
  console.log(`${folder}: ${megabytes(bytes)}; ${archive}: ${megabytes(statSync(archive).size)}${without}`);
}

/** A binary without its symbols; as it is where there is no `strip`, or where it does not load without them. */
function stripped(source, load) {
  const folder = mkdtempSync(join(tmpdir(), 'strip-'));
  const file = join(folder, basename(source));
  try {
    execFileSync('strip', ['--strip-unneeded', '-o', file, source], { stdio: 'ignore' });
    load(file);
    return readFileSync(file);
  } catch {
    return readFileSync(source);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function sizeOf(path) {
  return statSync(path).isDirectory()
    ? readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0)
    : statSync(path).size;
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

await main(resolve(process.argv[2] ?? join(root, 'out/portable')));
