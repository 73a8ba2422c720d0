import { describeBackends } from '../../support/backends.js';
import { describeGolden } from '../../support/golden-suite.js';

describeGolden({ architecture: 'llama', variant: 'dora' }, (title, body) =>
  describeBackends(title, ['wasm', 'webgpu'], body),
);
