import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import type { DoctorReport } from '../../src/device/examine.js';
import { handWrittenOps } from '../../kernels/index.js';
import { DEVICE_NAMES } from '../../src/device/device.js';
import { describeBackends } from '../support/backends.js';
import { lowrank } from '../support/cli.js';

async function examine(): Promise<DoctorReport> {
  const { status, stdout } = await lowrank('doctor', '--json');
  expect(status).toBe(0);
  return JSON.parse(stdout) as DoctorReport;
}

describe('lowrank doctor', () => {
  it('says of every device what it would give or what is missing, and what auto takes', async () => {
    const warned = vi.spyOn(console, 'warn');
    const { devices, auto } = await examine();
    // TensorFlow.js greets whoever uses its CPU backend.
    expect(warned).not.toHaveBeenCalled();
    warned.mockRestore();
    expect(devices.map(({ device }) => device)).toEqual(DEVICE_NAMES);
    for (const report of devices) {
      if (report.available) expect(report.description, report.device).toMatch(/\w/);
      else expect(report.missing, report.device).toMatch(/\w/);
    }
    expect(devices.find(({ device }) => device === 'wasm')).toMatchObject({
      available: true,
      handWritten: handWrittenOps('wasm'),
    });
    expect(handWrittenOps('wasm')).toContain('LowrankAttention');
    expect(devices.find(({ device }) => device === 'cpu')).toMatchObject({ available: true, handWritten: [] });
    const taken = devices.find(({ device }) => device === auto.device);
    expect(taken).toMatchObject({ available: true, software: false });
    expect(auto.reason).toMatch(/\w/);
  });

  it('tells where a newer Node would be faster', async () => {
    const wasm = (await examine()).devices.find(({ device }) => device === 'wasm');
    const wide = wasm?.features?.includes('simd-256') === true;
    const able = existsSync('/proc/cpuinfo') && /\bavx2\b/.test(readFileSync('/proc/cpuinfo', 'utf8'));
    if (Number(process.versions.node.split('.')[0]) >= 24 || !able) expect(wasm?.faster).toBeUndefined();
    else expect(wasm?.faster).toMatch(/^Node 24 or newer/);
    if (wide) expect(wasm?.faster).toBeUndefined();
  });

  it('names the command that would make a device available, and no kernels', async () => {
    const { devices } = await examine();
    for (const { device, available, fix } of devices) {
      if (device === 'node-gpu' && !available)
        expect(fix).toMatch(/^npm (?:install|rebuild) @tensorflow\/tfjs-node-gpu/);
    }
    const { stdout } = await lowrank('doctor');
    expect(stdout).toMatch(/^wasm: available$/m);
    expect(stdout).toMatch(/^auto takes [\w-]+: .+$/m);
    expect(stdout).toMatch(/^ {2}own kernels +\d+ /m);
    expect(stdout).not.toMatch(/Lowrank[A-Z]|\(npm install[^)]*\)$/m);
  });
});

describeBackends('lowrank doctor', ['webgpu'], () => {
  it('knows the adapter, its features and limits', async () => {
    const { devices } = await examine();
    const webgpu = devices.find(({ device }) => device === 'webgpu');
    expect(webgpu?.missing).toBeUndefined();
    expect(webgpu).toMatchObject({ available: true, handWritten: handWrittenOps('webgpu') });
    expect(webgpu?.limits?.['maxBufferSize']).toBeGreaterThan(2 ** 20);
    expect(Array.isArray(webgpu?.features)).toBe(true);
    expect(webgpu?.variants?.[0]).toBe('f32');
    for (const [variant, feature] of [
      ['f16', 'shader-f16'],
      ['subgroups', 'subgroups'],
    ] as const)
      expect(webgpu?.variants?.includes(variant)).toBe(webgpu?.features?.includes(feature));
    expect((webgpu?.subgroupMatrices?.length ?? 0) > 0).toBe(
      webgpu?.features?.includes('chromium-experimental-subgroup-matrix'),
    );
  });
});
