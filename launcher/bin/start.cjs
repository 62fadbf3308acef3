// The first lines that run, in words that an old Node.js understands: it gets one sentence, not a stack trace.
var wanted = [22, 19]
var have = process.versions.node.split('.').map(Number)
if (have[0] < wanted[0] || (have[0] === wanted[0] && have[1] < wanted[1])) {
  console.error(
    process.argv[2] +
      ' needs Node.js ' +
      wanted.join('.') +
      ' or newer, and this is ' +
      process.versions.node +
      '; in a checkout `npm ci` brings the right one.',
  )
  process.exitCode = 2
} else {
  require('./main.cjs').run(process.argv[2], process.argv.slice(3))
}
