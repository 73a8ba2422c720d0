import { describe, expect, it } from 'vitest';
import { namesRight, whenRight } from '../../../src/workspace/quickstart/facts.js';

const prompt =
  "Dialogue:\nZoë: Do you want to come to the park on Monday?\nBo: Yes. When?\nZoë: At two o'clock.\nSummary:";
const reference = "Zoë invites Bo to the park on Monday. They will meet at two o'clock.";
const names = (completion: string): boolean => namesRight({ prompt, reference, completion });
const when = (completion: string, right = reference): boolean | undefined =>
  whenRight({ prompt, reference: right, completion });

describe('a summary', () => {
  it('names both speakers, in the order of the reference', () => {
    expect(names('Zoë asks Bo. Zoë is glad.')).toBe(true);
    expect(names('Bo invites Zoë to the park.')).toBe(false);
    expect(names('Zoë invites Boris to the park.')).toBe(false);
    expect(names('Zoë invites Zoë.')).toBe(false);
    expect(names('')).toBe(false);
  });

  it('has the weekdays and hours of the reference, and no other', () => {
    expect(when("On Monday, at two o'clock.")).toBe(true);
    expect(when("On Monday, at three o'clock.")).toBe(false);
    expect(when('On Monday.')).toBe(false);
    expect(when("On Monday and Tuesday at two o'clock.")).toBe(false);
    expect(when('On Monday.', 'Zoë sells a hat to Bo.')).toBeUndefined();
  });
});
