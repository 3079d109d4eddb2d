import {estimate, median, ratioEstimate} from '../../src/profile/statistics.js';

describe('statistics', () => {
  it('takes the middle, or the mean of the two middle values', () => {
    expect(median([5, 1, 3])).toBe(3);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(() => median([])).toThrowError(/no values/);
  });

  it('gives one value itself as its interval', () => {
    expect(estimate([7])).toEqual({median: 7, low: 7, high: 7});
  });

  it('gives an interval that holds the median and stays within the values', () => {
    const values = Array.from({length: 20}, (_, i) => 10 + ((i * 7) % 20) / 10);
    const {median: middle, low, high} = estimate(values);
    expect(low).toBeLessThan(middle);
    expect(high).toBeGreaterThan(middle);
    expect(low).toBeGreaterThanOrEqual(Math.min(...values));
    expect(high).toBeLessThanOrEqual(Math.max(...values));
    expect(estimate(values)).toEqual({median: middle, low, high});
  });

  it('lets drift that hits both sides of a pair cancel', () => {
    const before = Array.from({length: 15}, (_, i) => 100 + 10 * i);
    const ratio = ratioEstimate(
      before,
      before.map((ms) => ms / 2),
    );
    expect(ratio).toEqual({median: 2, low: 2, high: 2});
    expect(() => ratioEstimate([1, 2], [1])).toThrowError(/must be pairs/);
  });
});
