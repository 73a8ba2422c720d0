import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/**
 * What TensorBoard reads: an Event of tensorflow/core/util/event.proto, with the Summary of
 * tensorflow/core/framework/summary.proto. Only the fields that are written here are named; a reader passes over all
 * others.
 */
export interface TensorBoardEvent {
  /** Seconds since 1970. */
  readonly wallTime: number;
  readonly step?: number;
  /** First in every file: `brain.Event:2`. */
  readonly fileVersion?: string;
  /**
   * Values by tag; float32 in the file, where what lies beyond, such as the perplexity of a loss above 88, is infinite.
   */
  readonly scalars?: Readonly<Record<string, number>>;
  /** Markdown by tag. */
  readonly texts?: Readonly<Record<string, string>>;
  /** What was read before with this step or a later one is void: a run goes on from before it. */
  readonly restarts?: boolean;
}

export const FILE_VERSION = 'brain.Event:2';

// Field numbers of event.proto, summary.proto and tensor.proto.
const EVENT = { wallTime: 1, step: 2, fileVersion: 3, summary: 5, sessionLog: 7 } as const;
const SUMMARY = { value: 1 } as const;
const VALUE = { tag: 1, simpleValue: 2, tensor: 8, metadata: 9 } as const;
const METADATA = { pluginData: 1, dataClass: 4 } as const;
const PLUGIN = { name: 1 } as const;
const TENSOR = { dtype: 1, shape: 2, string: 8 } as const;
const SHAPE = { dim: 2 } as const;
const DIM = { size: 1 } as const;
const SESSION_LOG = { status: 1 } as const;
const [DT_STRING, DATA_CLASS_TENSOR, STATUS_START] = [7, 2, 1];

/** An event as protobuf. */
export function encodeEvent({
  wallTime,
  step = 0,
  fileVersion,
  scalars = {},
  texts = {},
  restarts = false,
}: TensorBoardEvent): Uint8Array {
  const writer = new BinaryWriter().tag(EVENT.wallTime, WireType.Bit64).double(wallTime);
  if (step !== 0) writer.tag(EVENT.step, WireType.Varint).int64(step);
  if (fileVersion !== undefined) text(writer, EVENT.fileVersion, fileVersion);
  if (Object.keys(scalars).length + Object.keys(texts).length > 0) {
    message(writer, EVENT.summary, () => {
      for (const [tag, value] of Object.entries(scalars)) {
        message(writer, SUMMARY.value, () =>
          text(writer, VALUE.tag, tag).tag(VALUE.simpleValue, WireType.Bit32).float(Math.fround(value)),
        );
      }
      for (const [tag, value] of Object.entries(texts))
        message(writer, SUMMARY.value, () => textValue(writer, tag, value));
    });
  }
  if (restarts)
    message(writer, EVENT.sessionLog, () => writer.tag(SESSION_LOG.status, WireType.Varint).int32(STATUS_START));
  return writer.finish();
}

/** A tensor of one string, which the plugin for texts shows. */
function textValue(writer: BinaryWriter, tag: string, value: string): void {
  text(writer, VALUE.tag, tag);
  message(writer, VALUE.tensor, () => {
    writer.tag(TENSOR.dtype, WireType.Varint).int32(DT_STRING);
    message(writer, TENSOR.shape, () =>
      message(writer, SHAPE.dim, () => writer.tag(DIM.size, WireType.Varint).int64(1)),
    );
    text(writer, TENSOR.string, value);
  });
  message(writer, VALUE.metadata, () => {
    message(writer, METADATA.pluginData, () => text(writer, PLUGIN.name, 'text'));
    writer.tag(METADATA.dataClass, WireType.Varint).int32(DATA_CLASS_TENSOR);
  });
}

function text(writer: BinaryWriter, field: number, value: string): BinaryWriter {
  return writer.tag(field, WireType.LengthDelimited).string(value);
}

function message(writer: BinaryWriter, field: number, content: () => unknown): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  content();
  writer.join();
}

/** The step of an encoded event; 0 where none is written. */
export function stepOfEvent(event: Uint8Array): number {
  const reader = new BinaryReader(event);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === EVENT.step) return Number(reader.int64());
    reader.skip(type, field);
  }
  return 0;
}
