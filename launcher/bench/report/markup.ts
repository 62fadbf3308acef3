// HTML as values: what is put into a template is escaped unless it is markup itself.

/** A piece of HTML or SVG. */
export class Markup {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** What a template takes: text, markup, a list of markup, or nothing. */
export type Part = string | number | Markup | readonly Markup[] | undefined

/** A template of HTML or SVG. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Markup {
  const text = strings.reduce((before, string, index) => `${before}${render(parts[index - 1])}${string}`)
  return new Markup(text)
}

function render(part: Part): string {
  if (part === undefined) return ''
  if (part instanceof Markup) return part.text
  if (Array.isArray(part)) return part.map((each) => each.text).join('')
  return escapeText(String(part))
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escapeText(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character] as string)
}
