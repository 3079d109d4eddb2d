/** The profiler: measure, compare, and show. */
export {compare, type CompareOptions} from './compare.js';
export {blocksCSV, opsCSV} from './csv.js';
export {type InputOptions, seededInputs} from './inputs.js';
export type {ModelInputs, ProfiledModel} from './model.js';
export {type PageContent, reportPage} from './page.js';
export {measurePeaks} from './peaks.js';
export {profile, type ProfileOptions} from './profile.js';
export {comparisonText, profileText} from './text.js';
export {type Trace, type TraceEvent, traceOf} from './trace.js';
export type * from './types.js';
export {type Waterline, type WaterlineBar, waterlineOf} from './waterline.js';
