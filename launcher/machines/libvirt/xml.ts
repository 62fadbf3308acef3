// XML, written: elements, attributes and text, each value escaped in this one place. Pure. libvirt's own schema checks what
// comes out, so a builder library would add nothing but its size.

/** An element: name, attributes, and either text or elements. An attribute that is undefined is left out. */
export interface Element {
  readonly name: string
  readonly attributes: Readonly<Record<string, string | undefined>>
  readonly content: string | readonly Element[]
}

/** Makes an element. */
export function element(
  name: string,
  attributes: Element['attributes'] = {},
  content: Element['content'] = [],
): Element {
  return { name, attributes, content }
}

/** The document, indented, with a newline at its end. Values must have no control characters but tab and newline. */
export function formatXml({ name, attributes, content }: Element, indent = ''): string {
  const said = Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : [` ${key}="${escapeXml(value)}"`],
  )
  const begin = `${indent}<${name}${said.join('')}`
  if (content.length === 0) return `${begin}/>\n`
  if (typeof content === 'string') return `${begin}>${escapeXml(content)}</${name}>\n`
  return `${begin}>\n${content.map((child) => formatXml(child, `${indent}  `)).join('')}${indent}</${name}>\n`
}

// A newline or a tab in an attribute would be read as a space.
function escapeXml(text: string): string {
  return text.replace(/[&<>"\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`)
}
