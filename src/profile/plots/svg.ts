/** Markup as strings: elements with escaped attributes and text, so that a plot is a pure function in Node and in a browser. */

export type Attributes = Readonly<Record<string, string | number | undefined>>;

export const escapeText = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** An element; `children` are markup, so text must go through escapeText() or svgText(). */
export function element(tag: string, attributes: Attributes, ...children: readonly string[]): string {
  const list = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(
      ([name, value]) => ` ${name}="${escapeText(typeof value === 'number' ? round(value) : String(value))}"`,
    );
  return `<${tag}${list.join('')}>${children.join('')}</${tag}>`;
}

/** Hundredths of a pixel are enough, and keep the file small. */
const round = (value: number): string => String(Math.round(value * 100) / 100);

export const svgText = (text: string, attributes: Attributes): string =>
  element('text', attributes, escapeText(text));

/** What a mark says when pointed at. */
export const tip = (...lines: readonly string[]): string =>
  element('title', {}, escapeText(lines.join('\n')));

/** A drawing that scales with its column. `label` is what a screen reader says. */
export function figure(width: number, height: number, label: string, ...children: readonly string[]): string {
  return element(
    'svg',
    {viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label, class: 'plot'},
    ...children,
  );
}
