/** What every error this package throws on purpose has in common: a message that stands alone and an exit code. */
export class LowrankError extends Error {
  /** Process exit status the CLI ends with when this error reaches it. */
  readonly exitCode: number = 1;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** A wrong setting: unknown key, wrong type, values that contradict each other. */
export class ConfigError extends LowrankError {
  override readonly exitCode: number = 2;
}

/** A file that is not what it says it is. The message names the file and the field. */
export class FormatError extends LowrankError {
  override readonly exitCode: number = 3;
}

/** Rows that cannot be used for training or evaluation. */
export class DataError extends LowrankError {
  override readonly exitCode: number = 3;
}

/** No such device, a lost device, or not enough of its memory. */
export class DeviceError extends LowrankError {
  override readonly exitCode: number = 4;
}

/** A run that had to be stopped: a non-finite loss or gradient. */
export class TrainingError extends LowrankError {
  override readonly exitCode: number = 5;
}
