// The members of TensorFlow.js that it does not document and this project uses, all of them in kernels/tfjs. The lint
// rule below, test/kernels/tfjs-contract.test.ts and docs/tensorflow.md hold to this list.

/**
 * Owner → member → [type of the value as `typeof` names it, what it is used for]. `object?` may be undefined or null.
 * Owners are found in test/kernels/tfjs-contract.test.ts.
 */
export const TFJS_MEMBERS = {
  engine: {
    backend: ['object', 'saving tensors for the backward pass without an op (engine.ts)'],
    registry: ['object', 'the question whether a backend is created already (engine.ts)'],
    state: ['object', 'tapes of its own for gradients and checkpointing (engine.ts)'],
    clone: ['function', 'saving a tensor that another backend holds (engine.ts)'],
    makeTensorFromTensorInfo: ['function', 'tensors over memory that a kernel made (engine.ts)'],
    saveTensorsForBackwardMode: ['function', 'saving tensors for the backward pass without an op (engine.ts)'],
  },
  'engine.state': {
    activeTape: ['object?', 'tapes of its own for gradients and checkpointing (engine.ts)'],
    gradientDepth: ['number', 'tapes of its own for gradients and checkpointing (engine.ts)'],
    kernelDepth: ['number', 'tapes of its own for gradients and checkpointing (engine.ts)'],
    tensorInfo: ['object', 'saving tensors for the backward pass without an op (engine.ts)'],
  },
  'tape node': {
    id: ['number', "the package's backward pass (runtime/gradients/backward.ts)"],
    kernelName: ['string', "the package's backward pass (runtime/gradients/backward.ts)"],
    inputs: ['object', "the package's backward pass (runtime/gradients/backward.ts)"],
    outputs: ['object', "the package's backward pass (runtime/gradients/backward.ts)"],
    saved: ['object', "the package's backward pass (runtime/gradients/backward.ts)"],
    gradient: ['function', "the package's backward pass (runtime/gradients/backward.ts)"],
  },
  wasm: {
    wasm: ['object', 'kernels over the heap of the backend (wasm.ts)'],
    dataIdMap: ['object', 'addresses of tensors for WASM kernels (wasm.ts)'],
    makeOutput: ['function', 'outputs of WASM kernels, and counting memory (wasm.ts)'],
  },
  'wasm.dataIdMap entry': {
    memoryOffset: ['number', 'addresses of tensors for WASM kernels (wasm.ts)'],
  },
  'wasm.wasm': {
    _malloc: ['function', 'the error for a full heap, and memory of waiting jobs (wasm.ts)'],
    _free: ['function', 'the error for a full heap, and memory of waiting jobs (wasm.ts)'],
    HEAPU8: ['object', 'the size of the heap in reports (wasm.ts)'],
  },
  webgpu: {
    device: ['object', 'pipelines, bind groups and buffers of WebGPU kernels (webgpu.ts)'],
    queue: ['object', 'uniforms of WebGPU kernels, and recorded steps (webgpu.ts)'],
    tensorMap: ['object', 'buffers of tensors for WebGPU kernels (webgpu.ts)'],
    bufferManager: ['object', 'pooled buffers, and recorded steps that work in them (webgpu.ts)'],
    commandEncoder: ['object?', 'recording WebGPU kernels among stock ops (webgpu.ts)'],
    computePassEncoder: ['object?', 'recording WebGPU kernels among stock ops (webgpu.ts)'],
    commandQueueOwnedIds: ['object', 'keeping buffers until commands are submitted (webgpu.ts)'],
    dispatchCountInPass: ['number', 'submitting in batches (webgpu.ts)'],
    uniformPendingDisposal: ['object', 'returning uniform buffers after a submit (webgpu.ts)'],
    activeTimers: ['object?', 'not replaying steps while tfjs takes times (webgpu.ts)'],
    ensureCommandEncoderReady: ['function', 'recording WebGPU kernels among stock ops (webgpu.ts)'],
    endComputePassEncoder: ['function', 'copies between buffers, and submits (webgpu.ts)'],
    submitQueue: ['function', 'submits, and recorded steps that follow them (webgpu.ts)'],
    uploadToGPU: ['function', 'buffers of tensors for WebGPU kernels, and recorded steps (webgpu.ts)'],
    makeTensorInfo: ['function', 'outputs of WebGPU kernels (webgpu.ts)'],
    nextDataId: ['function', 'views into a larger buffer (webgpu.ts)'],
    tensorToBinding: ['function', 'views into a larger buffer, bound in stock ops (webgpu.ts)'],
    runWebGPUProgram: ['function', 'counting dispatches of stock ops in the bench and in tests (webgpu.ts)'],
  },
  'webgpu.tensorMap entry': {
    resource: ['object', 'buffers of tensors for WebGPU kernels (webgpu.ts)'],
    values: ['object?', 'values that are on the host alone (webgpu.ts)'],
    refCount: ['number', 'views into a larger buffer (webgpu.ts)'],
  },
  'webgpu.bufferManager': {
    freeBuffers: ['object', 'handing out buffers in one order, so that bind groups serve again (webgpu.ts)'],
    acquireBuffer: ['function', 'pooled buffers, and recorded steps that work in them (webgpu.ts)'],
    releaseBuffer: ['function', 'pooled buffers, and recorded steps that work in them (webgpu.ts)'],
    getNumUsedBuffers: ['function', 'tests that no buffer is lost (webgpu.ts)'],
  },
};

/** Names that other code has for things of its own: the rule cannot tell them apart. */
const COMMON_NAMES = new Set(
  'backend registry state clone makeTensorFromTensorInfo id kernelName inputs outputs saved gradient wasm device queue resource values refCount'.split(
    ' ',
  ),
);

const BANNED = new Set(
  Object.values(TFJS_MEMBERS)
    .flatMap((members) => Object.keys(members))
    .filter((name) => !COMMON_NAMES.has(name)),
);

/** The façade, and the list above. */
const MAY_NAME = /(?:^|[\\/])(?:kernels[\\/]tfjs[\\/]|scripts[\\/]eslint-tfjs\.js$)/;

/** `tf.backend()` and `tf.engine()`, also under other casts. */
function isTfjsInternal(node) {
  if (node.type === 'TSAsExpression') return isTfjsInternal(node.expression);
  const name = node.type === 'CallExpression' ? (node.callee.property ?? node.callee).name : undefined;
  return name === 'backend' || name === 'engine';
}

const noPrivateMembers = {
  meta: {
    type: 'problem',
    schema: [],
    messages: {
      member: '`{{name}}` is a private member of TensorFlow.js: use or add a function of kernels/tfjs.',
      cast: 'A cast gives a type of its own to what TensorFlow.js returns: use or add a function of kernels/tfjs.',
    },
  },
  create(context) {
    if (MAY_NAME.test(context.filename)) return {};
    return {
      'MemberExpression, Property, PropertyDefinition, TSPropertySignature, TSMethodSignature'(node) {
        const key = node.property ?? node.key;
        const name = key.type === 'Literal' ? key.value : node.computed ? undefined : key.name;
        if (BANNED.has(name)) context.report({ node: key, messageId: 'member', data: { name } });
      },
      TSAsExpression(node) {
        const twice = node.expression.type === 'TSAsExpression';
        const literal = ['TSTypeLiteral', 'TSIntersectionType'].includes(node.typeAnnotation.type);
        if ((twice || literal) && isTfjsInternal(node.expression)) context.report({ node, messageId: 'cast' });
      },
    };
  },
};

/** The plugin for eslint.config.js. */
export const tfjsPlugin = { meta: { name: 'tfjs' }, rules: { 'no-private-members': noPrivateMembers } };
