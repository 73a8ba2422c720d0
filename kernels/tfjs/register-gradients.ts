/**
 * Registers the gradients of the stock ops, and their methods on tensors; tfjs-core alone has neither. `imports` in
 * package.json says where they come from: bundlers take the two files of tfjs-core, without the layers, the converter
 * and the WebGL backend of `@tensorflow/tfjs`; Node takes `@tensorflow/tfjs`, because it cannot load these files (their
 * imports have no file extensions).
 */
import '#tfjs-gradients';
import '#tfjs-chained-ops';
