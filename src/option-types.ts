import * as z from 'zod';

/** Types that many options have. */
export const text = () => z.string().min(1);
export const textOrList = () => z.union([text(), z.array(text()).min(1)]);
export const count = () => z.int().min(1);
export const fraction = () => z.number().min(0).lt(1);
