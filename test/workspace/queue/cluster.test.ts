import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { createProgram } from '../../../src/cli/program.js';
import { VERBS } from '../../../src/cli/verbs.js';

const read = (name: string): string => readFileSync(resolve('configs/cluster', name), 'utf8');

interface Container {
  readonly command: readonly string[];
  readonly env: readonly { readonly name: string }[];
  readonly volumeMounts: readonly { readonly name: string }[];
}

interface JobManifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly spec: {
    readonly completionMode: string;
    readonly completions: number;
    readonly parallelism: number;
    readonly template: {
      readonly spec: {
        readonly restartPolicy: string;
        readonly containers: readonly [Container];
        readonly volumes: readonly { readonly name: string }[];
      };
    };
  };
}

/** Every `lowrank worker …` must be one that the command line takes. */
function expectKnownFlags(text: string): void {
  const worker = createProgram(VERBS).commands.find((command) => command.name() === 'worker');
  const known = worker?.options.map((option) => option.long);
  const calls = [...text.matchAll(/lowrank worker ([^\n'`]*)/g)];
  expect(calls.length).toBeGreaterThan(0);
  for (const [, args = ''] of calls) for (const [flag] of args.matchAll(/--[a-z]+/g)) expect(known).toContain(flag);
}

describe('configs/cluster', () => {
  it('has an indexed Kubernetes Job that starts workers', () => {
    const text = read('kubernetes.yaml');
    expect(text).toMatch(/^# kubectl .*apply -f configs\/cluster\/kubernetes\.yaml\n/);
    const manifest = parse(text, { strict: true }) as JobManifest;
    expect(manifest).toMatchObject({ apiVersion: 'batch/v1', kind: 'Job', spec: { completionMode: 'Indexed' } });
    const { completions, parallelism, template } = manifest.spec;
    expect(parallelism).toBe(completions);
    expect(template.spec.restartPolicy).toBe('OnFailure');
    const [container] = template.spec.containers;
    expect(container.env.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['LOWRANK_QUEUE', 'LOWRANK_QUEUE_SECRET']),
    );
    expect(container.volumeMounts.map(({ name }) => name)).toEqual(template.spec.volumes.map(({ name }) => name));
    expectKnownFlags(container.command.at(-1) ?? '');
  });

  it('has a Slurm array script that starts workers', () => {
    const text = read('slurm.sh');
    expect(text).toMatch(/^#!\/bin\/bash\n# LOWRANK_QUEUE=\S+ sbatch configs\/cluster\/slurm\.sh\n/);
    expect(text).toMatch(/^#SBATCH --array=0-\d+$/m);
    expect(spawnSync('bash', ['-n', resolve('configs/cluster/slurm.sh')]).status).toBe(0);
    expectKnownFlags(text);
  });

  it('has a guide whose commands are there', () => {
    expectKnownFlags(read('README.md'));
  });
});
