// Prints the WebGPU adapter that tests on this machine will get; exits 1 where there is none.
import { create } from 'webgpu';

const gpu = create([]);
const adapter = await gpu.requestAdapter();
if (adapter === null) {
  console.log('WebGPU: no adapter');
  process.exit(1);
}
const { vendor, device, description } = adapter.info;
console.log(`WebGPU: ${[vendor, device, description].filter((part) => part !== '').join(' · ')}`);
