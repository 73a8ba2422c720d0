import * as z from 'zod';
import { FormatError } from '../errors.js';
import { readJson, type Directory } from '../io/directory.js';
import { hashSource } from '../io/hash.js';
import { memorySource } from '../io/source.js';

/** Lists the files of a checkpoint: a folder is one, and whole, when they are all there as it says. */
export const MANIFEST_FILE = 'manifest.json';

const schema = z.object({
  format: z.literal(1),
  files: z.record(z.string(), z.object({ bytes: z.int().min(0), sha256: z.string() })),
});

type Manifest = z.infer<typeof schema>;

/** The files with their manifest, last. */
export async function withManifest(
  files: Readonly<Record<string, Uint8Array | string>>,
): Promise<Record<string, Uint8Array | string>> {
  const listed: Manifest['files'] = {};
  const encoder = new TextEncoder();
  for (const [name, content] of Object.entries(files)) {
    const bytes = typeof content === 'string' ? encoder.encode(content) : content;
    listed[name] = { bytes: bytes.length, sha256: await hashSource(memorySource(name, bytes)) };
  }
  const manifest: Manifest = { format: 1, files: listed };
  return { ...files, [MANIFEST_FILE]: `${JSON.stringify(manifest, null, 1)}\n` };
}

/** What keeps a folder from being a whole checkpoint, in a few words; undefined when nothing does. Reads all of it. */
export async function manifestProblem(directory: Directory): Promise<string | undefined> {
  let json: unknown;
  try {
    json = await readJson(directory, MANIFEST_FILE);
  } catch {
    return `${MANIFEST_FILE} is broken`;
  }
  if (json === undefined) return `it has no ${MANIFEST_FILE}`;
  const manifest = schema.safeParse(json);
  if (!manifest.success) return `${MANIFEST_FILE} is none that this version knows`;
  for (const [name, { bytes, sha256 }] of Object.entries(manifest.data.files)) {
    const source = await directory.open(name).catch((error: unknown) => {
      if (error instanceof FormatError) return null;
      throw error;
    });
    if (source === null) return `${MANIFEST_FILE} names ${JSON.stringify(name)}, which leads out of the folder`;
    if (source === undefined) return `${name} is missing`;
    try {
      if (source.size !== bytes) return `${name} has ${source.size} bytes, written were ${bytes}`;
      if ((await hashSource(source)) !== sha256) return `${name} does not hold what was written`;
    } finally {
      await source.close();
    }
  }
  return undefined;
}
