// Prints the WebGPU adapter that tests on this machine will get; exits 1 where there is none.
import { create } from 'webgpu';

const adapter = await create([]).requestAdapter();
if (adapter === null) {
  console.log('WebGPU: no adapter');
  process.exit(1);
}
const { vendor, device, description } = adapter.info;
console.log(`WebGPU: ${[vendor, device, description].filter((part) => part !== '').join(' · ')}`);
// Dawn's instance would keep the process alive.
process.exit(0);
