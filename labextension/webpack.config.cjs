// The same sources give the same files, wherever the folder lies: ids follow from the modules' order, and no script holds
// another's hash, which the minifier would see as it was before, with the folder in it. Jupyter has them revalidated.
module.exports = {
  optimization: { moduleIds: 'natural', chunkIds: 'natural' },
  output: { chunkFilename: '[name].js' }
};
