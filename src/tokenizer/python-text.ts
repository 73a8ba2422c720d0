/** `str.isspace` of Python. JavaScript's \s has U+FEFF besides and lacks the four separators and U+0085. */
const SPACES = new Set(
  '\t\n\v\f\r\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000',
);

/**
 * Python's `strip`, `lstrip` and `rstrip`: takes the characters of `chars` away, white space where these are undefined.
 */
export function stripText(text: string, chars: string | undefined, left: boolean, right: boolean): string {
  const set = chars === undefined ? SPACES : new Set(chars);
  const points = Array.from(text);
  let [start, end] = [0, points.length];
  while (left && start < end && set.has(points[start] as string)) start++;
  while (right && end > start && set.has(points[end - 1] as string)) end--;
  return start === 0 && end === points.length ? text : points.slice(start, end).join('');
}

/** Python's `repr` of a float: the shortest digits that give it back, with an exponent below 1e-4 and from 1e16. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value < 0 ? '-inf' : 'inf';
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0';
  const [mantissa = '', power = '0'] = value.toExponential().split('e');
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 16) {
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  const sign = value < 0 ? '-' : '';
  const digits = mantissa.replace(/[-.]/g, '');
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0');
  return `${sign}${whole}.${digits.slice(exponent + 1) || '0'}`;
}

/** Python's `repr` of a text. */
export function quotedText(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let body = '';
  for (const char of text) {
    if (char === quote || char === '\\') body += `\\${char}`;
    else if (char === '\n') body += '\\n';
    else if (char === '\r') body += '\\r';
    else if (char === '\t') body += '\\t';
    else if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]|(?! )\p{Zs}/u.test(char))
      body += escaped(char.codePointAt(0) as number);
    else body += char;
  }
  return quote + body + quote;
}

function escaped(point: number): string {
  const [letter, width] = point < 0x100 ? ['x', 2] : point < 0x10000 ? ['u', 4] : ['U', 8];
  return `\\${letter}${point.toString(16).padStart(width as number, '0')}`;
}
