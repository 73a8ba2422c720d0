import type { RunConfig } from '../config/schema.js';
import type { Device, Host } from '../device/device.js';
import { openDevice } from '../device/open.js';
import { SharedResources } from '../finetune/shared-resources.js';

/** A device that is opened when a run wants it and kept, with the base model and the rows on it, until it is closed. */
export class DeviceHolder {
  private shared: SharedResources | undefined;
  private asked: string | undefined;

  constructor(
    private readonly host: Host,
    private readonly onDevice?: (device: Device) => void,
  ) {}

  /** @throws DeviceError when it cannot be opened. */
  async open({ device: asked }: Pick<RunConfig, 'device'>): Promise<SharedResources> {
    if (this.shared !== undefined && this.asked === asked) return this.shared;
    await this.close();
    const device = await openDevice(asked, this.host);
    this.onDevice?.(device);
    this.asked = asked;
    return (this.shared = new SharedResources(device));
  }

  /** Forgets base model, rows and hashes. The device stays open. */
  forget(): void {
    this.shared?.dispose();
  }

  async close(): Promise<void> {
    const { shared } = this;
    this.shared = undefined;
    shared?.dispose();
    await shared?.device.close();
  }
}
