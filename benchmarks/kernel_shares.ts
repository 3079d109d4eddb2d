/** What kernels reach of a device's peaks: sums over dispatches that were timed, what explains them, and the tables. */

export interface TimedDispatch {
  readonly kernel: string;
  readonly workgroups: readonly [number, number, number];
  /** Of the plan, and undefined for a program of TF.js, of which nothing is known. */
  readonly block?: string | undefined;
  readonly input?: readonly number[] | undefined;
  readonly macs?: number | undefined;
  readonly bytes?: number | undefined;
  /** Of the pass around it, by timestamps. */
  readonly passMicroseconds: number;
  /** Without what a pass costs beyond the dispatch in it. */
  readonly microseconds: number;
}

export interface Figures {
  /** float32, 1 FMA = 2 operations. */
  readonly operationsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly launchMicroseconds: number;
}

export interface KernelShare {
  readonly kernel: string;
  readonly dispatches: number;
  readonly microseconds: number;
  /** Of the sum over all dispatches. */
  readonly ofNetwork: number;
  /** NaN, as all that follows from it, where those of a dispatch are not known. */
  readonly operations: number;
  readonly bytes: number;
  readonly operationsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly ofPeak: number;
  /** Above 1 where caches give what memory could not. */
  readonly ofBandwidth: number;
  /** Of the time: what the launches of its dispatches take. */
  readonly ofLaunch: number;
  /** The largest of the three shares above. */
  readonly heldBy: 'launch' | 'arithmetic' | 'memory' | undefined;
  /** Of the time: what launch and the longer of arithmetic and memory leave unexplained, dispatch by dispatch. */
  readonly rest: number;
}

/** A network at a batch: its dispatches, and the time of all of them in one pass. */
export interface NetworkTimes {
  readonly network: string;
  readonly batch: number;
  readonly launchMicroseconds: number;
  /** Of the pass around an empty dispatch, behind another such pass and behind that of a kernel. */
  readonly emptyPassMicroseconds: number;
  readonly emptyPassBehindKernelMicroseconds: number;
  /** Of a prediction's dispatches repeated in one pass. */
  readonly gpuMicroseconds: number;
  readonly dispatches: readonly TimedDispatch[];
}

const sumOf = (dispatches: readonly TimedDispatch[], of: (dispatch: TimedDispatch) => number): number =>
  dispatches.reduce((sum, dispatch) => sum + of(dispatch), 0);

export const microsecondsOf = (dispatches: readonly TimedDispatch[]): number =>
  sumOf(dispatches, ({microseconds}) => microseconds);

/** `gatedPointwise`; a kernel that reads channels one by one keeps its suffix. */
const nameOf = ({kernel}: TimedDispatch): string => kernel.replace('.vector', '');

/** Microseconds that nothing explains: neither the launch nor what its operations or bytes take at the peaks. */
function unexplained({macs = NaN, bytes = NaN, microseconds}: TimedDispatch, figures: Figures): number {
  const arithmetic = (2e6 * macs) / figures.operationsPerSecond;
  const memory = (1e6 * bytes) / figures.bytesPerSecond;
  const rest = microseconds - figures.launchMicroseconds - Math.max(arithmetic, memory);
  return Number.isNaN(rest) ? NaN : Math.max(0, rest);
}

/** @param all the dispatches of which `own` are some. */
function shareOf(
  kernel: string,
  own: readonly TimedDispatch[],
  {all, figures}: {all: readonly TimedDispatch[]; figures: Figures},
): KernelShare {
  const microseconds = microsecondsOf(own);
  const operations = sumOf(own, ({macs = NaN}) => 2 * macs);
  const bytes = sumOf(own, (dispatch) => dispatch.bytes ?? NaN);
  const operationsPerSecond = (1e6 * operations) / microseconds;
  const bytesPerSecond = (1e6 * bytes) / microseconds;
  const ofLaunch = (own.length * figures.launchMicroseconds) / microseconds;
  const ofPeak = operationsPerSecond / figures.operationsPerSecond;
  const ofBandwidth = bytesPerSecond / figures.bytesPerSecond;
  const largest = Math.max(ofLaunch, ofPeak, ofBandwidth);
  const heldBy = largest === ofLaunch ? 'launch' : largest === ofPeak ? 'arithmetic' : 'memory';
  return {
    kernel,
    dispatches: own.length,
    microseconds,
    ofNetwork: microseconds / microsecondsOf(all),
    operations,
    bytes,
    operationsPerSecond,
    bytesPerSecond,
    ofPeak,
    ofBandwidth,
    ofLaunch,
    heldBy: Number.isNaN(largest) ? undefined : heldBy,
    rest: sumOf(own, (dispatch) => unexplained(dispatch, figures)) / microseconds,
  };
}

/** A share for each kernel, the longest first. */
export function sharesOf(all: readonly TimedDispatch[], figures: Figures): KernelShare[] {
  const byKernel = new Map<string, TimedDispatch[]>();
  for (const dispatch of all) {
    const kernel = nameOf(dispatch);
    byKernel.set(kernel, [...(byKernel.get(kernel) ?? []), dispatch]);
  }
  return [...byKernel]
    .map(([kernel, own]) => shareOf(kernel, own, {all, figures}))
    .sort((a, b) => b.microseconds - a.microseconds);
}

const scaled = (value: number, scale: number): string => {
  if (!Number.isFinite(value)) return '–';
  const shown = value / scale;
  return shown >= 100 ? shown.toFixed(0) : shown >= 10 ? shown.toFixed(1) : shown.toFixed(2);
};
const percent = (value: number): string => (Number.isFinite(value) ? `${Math.round(100 * value)} %` : '–');

/** Of the time: at the peak, at the bandwidth, for launches; the largest of them; and what they leave. */
const SHARES = ['arithmetic', 'memory', 'launch', 'held by', 'latency and occupancy'] as const;
const TITLES = ['kernel', 'dispatches', 'µs', 'of time', 'GFLOP', 'MB', 'TFLOP/s', 'TB/s', ...SHARES] as const; // prettier-ignore

const cellsOf = (share: KernelShare): string[] => [
  share.kernel,
  String(share.dispatches),
  scaled(share.microseconds, 1),
  percent(share.ofNetwork),
  scaled(share.operations, 1e9),
  scaled(share.bytes, 1e6),
  scaled(share.operationsPerSecond, 1e12),
  scaled(share.bytesPerSecond, 1e12),
  percent(share.ofPeak),
  percent(share.ofBandwidth),
  percent(share.ofLaunch),
  share.heldBy ?? '–',
  percent(share.rest),
];

/** Markdown, in columns. */
function tableOf(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, i) => Math.max(...lines.map((line) => (line[i] ?? '').length)));
  const [head = '', ...body] = lines.map(
    (line) => `| ${line.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`,
  );
  return [head, `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...body].join('\n');
}

export function networkTable({network, batch, dispatches, ...times}: NetworkTimes, figures: Figures): string {
  const sum = microsecondsOf(dispatches);
  const {gpuMicroseconds: whole, launchMicroseconds: launch} = times;
  const shares = sharesOf(dispatches, {...figures, launchMicroseconds: launch});
  return [
    `${network}, batch ${batch}: ${dispatches.length} dispatches, in one pass ${scaled(whole, 1)} µs; each in its own, added up, ${scaled(sum, 1)} µs (${percent(sum / whole)})`,
    `  an empty dispatch: ${scaled(launch, 1)} µs behind another in a pass, ${scaled(times.emptyPassMicroseconds, 1)} µs in a pass of its own, behind that of a kernel ${scaled(times.emptyPassBehindKernelMicroseconds, 1)} µs`,
    tableOf([TITLES, ...shares.map(cellsOf)]),
  ].join('\n');
}

const rangeOf = (values: readonly number[], text: (value: number) => string): string => {
  const known = values.filter(Number.isFinite);
  if (known.length === 0) return '–';
  const [least, most] = [text(Math.min(...known)), text(Math.max(...known))];
  return least === most ? least : `${least.replace(' %', '')} to ${most}`;
};

/** A line for each network: how near the parts are to the whole, and what explains the parts. */
export function networksTable(networks: readonly NetworkTimes[], figures: Figures): string {
  const lines = networks.map(({network, batch, launchMicroseconds, gpuMicroseconds: whole, dispatches}) => {
    const planned = dispatches.filter(({macs}) => macs !== undefined);
    const {ofLaunch, rest} = shareOf('all', planned, {all: dispatches, figures: {...figures, launchMicroseconds}}); // prettier-ignore
    const sum = microsecondsOf(dispatches);
    return [
      `${network}, ${batch}`,
      String(dispatches.length),
      scaled(whole, 1),
      `${scaled(sum, 1)} (${percent(sum / whole)})`,
      scaled(sum / dispatches.length, 1),
      percent(ofLaunch),
      percent(1 - ofLaunch - rest),
      percent(rest),
    ];
  });
  const titles = ['network, batch', 'dispatches', 'µs in one pass', 'µs added up', 'µs each', 'launch', 'arithmetic or memory', 'latency and occupancy']; // prettier-ignore
  return `Shares are those of the dispatches of our kernels:\n${tableOf([titles, ...lines])}`;
}

/** Each kernel at a batch, all networks' dispatches together, and in brackets from the least to the most of a network. */
export function summaryTable(batch: number, networks: readonly NetworkTimes[], figures: Figures): string {
  const own = networks.filter((one) => one.batch === batch);
  const all = own.flatMap(({dispatches}) => dispatches);
  const single = own.map(({dispatches, launchMicroseconds}) =>
    sharesOf(dispatches, {...figures, launchMicroseconds}),
  );
  const tera = (value: number): string => scaled(value, 1e12);
  const lines = sharesOf(all, figures).map((share) => {
    const those = single.flatMap((shares) => shares.find(({kernel}) => kernel === share.kernel) ?? []);
    const cell = (of: (one: KernelShare) => number, text: (value: number) => string): string => {
      const [typical, range] = [text(of(share)), rangeOf(those.map(of), text)];
      return range === typical ? typical : `${typical} (${range})`;
    };
    return [
      share.kernel,
      String(those.length),
      String(share.dispatches),
      cell(({microseconds, dispatches}) => microseconds / dispatches, (value) => scaled(value, 1)), // prettier-ignore
      cell(({ofNetwork}) => ofNetwork, percent),
      cell(({operationsPerSecond}) => operationsPerSecond, tera),
      cell(({bytesPerSecond}) => bytesPerSecond, tera),
      cell(({ofPeak}) => ofPeak, percent),
      cell(({ofBandwidth}) => ofBandwidth, percent),
      cell(({ofLaunch}) => ofLaunch, percent),
      share.heldBy ?? '–',
      cell(({rest}) => rest, percent),
    ];
  });
  const titles = ['kernel', 'networks', 'dispatches', 'µs each', 'of time', 'TFLOP/s', 'TB/s', ...SHARES];
  return [`All networks, batch ${batch} (in brackets the range over networks):`, tableOf([titles, ...lines])].join('\n'); // prettier-ignore
}
