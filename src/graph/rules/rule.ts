/** What a row of a rule table is. Rules see patterns, shapes and constants; none knows a model. */
import type {OpPattern, Match} from '../pattern.js';
import type {Replacement} from '../overlay.js';

export interface Rule {
  readonly name: string;
  readonly pattern: OpPattern;
  /** The new meaning of the pattern's root, or undefined where the match is not what the rule is about. */
  readonly to: (match: Match) => Replacement | undefined;
}

/** Reads off the table as: this pattern, where this holds, means that. */
export const rule = (name: string, pattern: OpPattern, to: Rule['to']): Rule => ({name, pattern, to});
