// Ids that follow from the modules' order, not from where the folder lies: the same sources give the same files.
module.exports = {
  optimization: { moduleIds: 'natural', chunkIds: 'natural' }
};
