// Draws a field of a 2-D OpenFOAM case as an SVG picture: the faces of the patch of type `empty` that look to us, each in
// the colour of its cell's value. Usage: node picture.js CASE FIELD FILE [TIME]
// Plain JavaScript, for whatever Node.js is there.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** What stands between the outermost parentheses of an ASCII list of OpenFOAM, behind its header and its length. */
function listOf(text) {
  const body = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '').replace(/FoamFile\s*\{[\s\S]*?\}/, '')
  return body.slice(body.indexOf('(') + 1, body.lastIndexOf(')'))
}

const numbers = (text) => (text.match(/-?[\d.]+(?:e[-+]?\d+)?/gi) ?? []).map(Number)

const [directory = '.', field = 'U', file = 'picture.svg', given] = process.argv.slice(2)
const mesh = (name) => readFileSync(join(directory, 'constant/polyMesh', name), 'utf8')
const points = [...listOf(mesh('points')).matchAll(/\(([^()]*)\)/g)].map(([, point]) => numbers(point))
const faces = [...listOf(mesh('faces')).matchAll(/\d+\s*\(([^()]*)\)/g)].map(([, face]) => numbers(face))
const owners = numbers(listOf(mesh('owner')))

const patch = /type\s+empty;[^}]*?nFaces\s+(\d+);\s*startFace\s+(\d+);/.exec(mesh('boundary'))
if (!patch) throw new Error(`${directory} has no patch of type empty: it is not two-dimensional`)
const [count, start] = [Number(patch[1]), Number(patch[2])]
const depth = Math.min(...points.map((point) => point[2]))
const shown = Array.from({ length: count }, (_, i) => start + i).filter((face) =>
  faces[face].every((point) => points[point]?.[2] === depth),
)

const times = readdirSync(directory).filter((name) => Number(name) > 0)
const time = given ?? times.sort((a, b) => Number(a) - Number(b)).at(-1)
if (time === undefined) throw new Error(`${directory} has no results yet`)
const internal = /internalField\s+nonuniform[^(]*\(([\s\S]*?)\)\s*;/.exec(
  readFileSync(join(directory, time, field), 'utf8'),
)
if (!internal) throw new Error(`${field} at ${time} is the same everywhere`)
const text = internal[1]
const values = text.includes('(')
  ? [...text.matchAll(/\(([^()]*)\)/g)].map(([, vector]) => Math.hypot(...numbers(vector)))
  : numbers(text)

const xs = points.map(([x]) => x)
const ys = points.map(([, y]) => y)
const [left, right, bottom, top] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)]
const scale = 1000 / (right - left)
const height = (top - bottom) * scale
const drawn = shown.map((face) => values[owners[face]])
const [least, most] = [Math.min(...drawn), Math.max(...drawn)]

// From dark blue over green to yellow, with steadily growing lightness, so that it can be read in grey as well.
function colour(value) {
  const t = most > least ? (value - least) / (most - least) : 0
  return `hsl(${Math.round(260 - 205 * t)} ${Math.round(55 + 25 * t)}% ${Math.round(22 + 48 * t)}%)`
}
const at = (point) => {
  const [x, y] = points[point]
  return `${((x - left) * scale).toFixed(2)} ${((top - y) * scale).toFixed(2)}`
}
const cells = shown.map((face, i) => {
  const path = faces[face].map(at).join('L')
  const fill = colour(drawn[i])
  return `<path d="M${path}Z" fill="${fill}" stroke="${fill}"/>`
})
const stops = [0, 0.25, 0.5, 0.75, 1].map(
  (t) => `<stop offset="${t}" stop-color="${colour(least + t * (most - least))}"/>`,
)
const label = `${field === 'U' ? 'speed |U|' : field} at time ${time}`
writeFileSync(
  file,
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-20 -20 1040 ${(height + 110).toFixed(0)}" font-family="sans-serif" font-size="22">
<title>${label}</title>
<defs><linearGradient id="scale">${stops.join('')}</linearGradient></defs>
<rect x="-20" y="-20" width="1040" height="${(height + 110).toFixed(0)}" fill="white"/>
<g stroke-width="0.4">${cells.join('\n')}</g>
<rect x="250" y="${(height + 30).toFixed(0)}" width="500" height="14" fill="url(#scale)"/>
<text x="240" y="${(height + 44).toFixed(0)}" text-anchor="end">${least.toPrecision(3)}</text>
<text x="760" y="${(height + 44).toFixed(0)}">${most.toPrecision(3)}</text>
<text x="500" y="${(height + 76).toFixed(0)}" text-anchor="middle">${label}</text>
</svg>
`,
)
