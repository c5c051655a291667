// Copies the style sheet without comments and layout, as the scripts' minifier does for them.
const { readFileSync, writeFileSync } = require('node:fs');

const css = readFileSync('style/index.css', 'utf8');
const short = css
  .replace(/\/\*[^]*?\*\//g, '')
  .replace(/\s+/g, ' ')
  .replace(/ ?([{};,]) ?/g, '$1')
  .replace(/: /g, ':');
writeFileSync('lib/style.css', `${short.trim()}\n`);
